namespace DistTrain.Kernels;

/// <summary>
/// The sizes of a 2-D pooling over images in (example, y, x, channel) order. Output pixel (y, x) sees the input pixels
/// (y·stride - pad + ky, and the same in x) that lie inside the image.
/// </summary>
/// <param name="Height">Rows of an input image.</param>
/// <param name="Width">Pixels of a row.</param>
/// <param name="Channels">Of both images.</param>
/// <param name="KernelHeight">Rows of the window.</param>
/// <param name="KernelWidth">Columns of the window.</param>
public readonly record struct PoolingShape(int Height, int Width, int Channels, int KernelHeight, int KernelWidth)
{
    /// <summary>Rows from one window to the next.</summary>
    public int StrideY { get; init; } = KernelHeight;

    /// <summary>Pixels from one window to the next.</summary>
    public int StrideX { get; init; } = KernelWidth;

    /// <summary>Rows around the image above, which windows may reach into; below the kernel's height.</summary>
    public int PadTop { get; init; }

    /// <summary>Rows below.</summary>
    public int PadBottom { get; init; }

    /// <summary>Pixels before each row; below the kernel's width.</summary>
    public int PadLeft { get; init; }

    /// <summary>Pixels behind each row.</summary>
    public int PadRight { get; init; }

    /// <summary>Rows of an output image.</summary>
    public int OutputHeight => ((Height + PadTop + PadBottom - KernelHeight) / StrideY) + 1;

    /// <summary>Pixels of an output row.</summary>
    public int OutputWidth => ((Width + PadLeft + PadRight - KernelWidth) / StrideX) + 1;

    /// <summary>Floats of an input image.</summary>
    public nint InputLength => (nint)Height * Width * Channels;

    /// <summary>Floats of an output image.</summary>
    public nint OutputLength => (nint)OutputHeight * OutputWidth * Channels;

    internal int Taps => KernelHeight * KernelWidth;

    /// <summary>Whether no pixel is in two windows.</summary>
    internal bool Disjoint => StrideY >= KernelHeight && StrideX >= KernelWidth;

    /// <summary>Whether every pixel is in a window.</summary>
    internal bool Covers =>
        StrideY <= KernelHeight && StrideX <= KernelWidth &&
        ((OutputHeight - 1) * StrideY) - PadTop + KernelHeight >= Height &&
        ((OutputWidth - 1) * StrideX) - PadLeft + KernelWidth >= Width;

    /// <summary>One window over the whole image.</summary>
    public static PoolingShape Global(int height, int width, int channels) => new(height, width, channels, height, width);

    /// <summary>The same window, stride and padding in both directions; stride 0 for the kernel's own size.</summary>
    public static PoolingShape Square(int height, int width, int channels, int kernel, int stride = 0, int padding = 0) =>
        new(height, width, channels, kernel, kernel)
        {
            StrideY = stride == 0 ? kernel : stride,
            StrideX = stride == 0 ? kernel : stride,
            PadTop = padding,
            PadBottom = padding,
            PadLeft = padding,
            PadRight = padding,
        };

    /// <summary>Checks that the sizes describe a pooling.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, or a window would see nothing of the image.</exception>
    public void Validate()
    {
        Positive(Height, nameof(Height));
        Positive(Width, nameof(Width));
        Positive(Channels, nameof(Channels));
        Positive(KernelHeight, nameof(KernelHeight));
        Positive(KernelWidth, nameof(KernelWidth));
        Positive(StrideY, nameof(StrideY));
        Positive(StrideX, nameof(StrideX));
        Pad(PadTop, KernelHeight, nameof(PadTop));
        Pad(PadBottom, KernelHeight, nameof(PadBottom));
        Pad(PadLeft, KernelWidth, nameof(PadLeft));
        Pad(PadRight, KernelWidth, nameof(PadRight));
        Fits(KernelHeight, Height + PadTop + PadBottom, nameof(KernelHeight));
        Fits(KernelWidth, Width + PadLeft + PadRight, nameof(KernelWidth));
    }

    /// <summary>The rows of the window of output row <paramref name="y"/> that lie inside: [from, to) of the kernel's.</summary>
    internal void Rows(int y, out int top, out int from, out int to) => Clip(y * StrideY, PadTop, KernelHeight, Height, out top, out from, out to);

    /// <summary>The columns of the window of output column <paramref name="x"/> that lie inside: [from, to) of the kernel's.</summary>
    internal void Columns(int x, out int left, out int from, out int to) => Clip(x * StrideX, PadLeft, KernelWidth, Width, out left, out from, out to);

    private static void Clip(int begin, int pad, int kernel, int size, out int first, out int from, out int to)
    {
        first = begin - pad;
        from = Math.Max(0, -first);
        to = Math.Min(kernel, size - first);
    }

    private static void Positive(int size, string name) => ArgumentOutOfRangeException.ThrowIfLessThan(size, 1, name);

    private static void Fits(int kernel, int size, string name)
    {
        if (kernel > size) throw new ArgumentOutOfRangeException(name, kernel, $"The window reaches over {kernel} of {size} padded pixels.");
    }

    private static void Pad(int pad, int kernel, string name)
    {
        if (pad < 0 || pad >= kernel)
            throw new ArgumentOutOfRangeException(name, pad, $"Padding is {pad}; it must be from 0 to below the kernel's {kernel}.");
    }
}
