namespace DistTrain.Kernels;

/// <summary>
/// The sizes of a 2-D convolution; a 1-D one has height, kernel height and vertical stride 1. Activations are
/// (examples, y, x, channels) and contiguous, weights (outputs, channels / groups, kernel height, kernel width).
/// Output pixel (y, x) sees input pixels (y·stride - pad + ky·dilation, and the same in x).
/// </summary>
/// <param name="Height">Rows of an input image.</param>
/// <param name="Width">Pixels of a row.</param>
/// <param name="Channels">Input channels, of all groups together.</param>
/// <param name="Outputs">Output channels, of all groups together.</param>
/// <param name="KernelHeight">Rows of the kernel.</param>
/// <param name="KernelWidth">Columns of the kernel.</param>
public readonly record struct ConvolutionShape(int Height, int Width, int Channels, int Outputs, int KernelHeight, int KernelWidth)
{
    // Beyond this, places in an image would not fit into the numbers that count them.
    private const int MaxSide = 1 << 24;

    /// <summary>Rows from one output to the next.</summary>
    public int StrideY { get; init; } = 1;

    /// <summary>Pixels from one output to the next.</summary>
    public int StrideX { get; init; } = 1;

    /// <summary>Rows of +0 above the image.</summary>
    public int PadTop { get; init; }

    /// <summary>Rows of +0 below the image.</summary>
    public int PadBottom { get; init; }

    /// <summary>Pixels of +0 before each row.</summary>
    public int PadLeft { get; init; }

    /// <summary>Pixels of +0 behind each row.</summary>
    public int PadRight { get; init; }

    /// <summary>Rows between the kernel's rows; 1 when they are neighbours.</summary>
    public int DilationY { get; init; } = 1;

    /// <summary>Pixels between the kernel's columns; 1 when they are neighbours.</summary>
    public int DilationX { get; init; } = 1;

    /// <summary>How many independent convolutions the channels are split into, in order.</summary>
    public int Groups { get; init; } = 1;

    /// <summary>Rows of an output image.</summary>
    public int OutputHeight => ((Height + PadTop + PadBottom - (DilationY * (KernelHeight - 1)) - 1) / StrideY) + 1;

    /// <summary>Pixels of an output row.</summary>
    public int OutputWidth => ((Width + PadLeft + PadRight - (DilationX * (KernelWidth - 1)) - 1) / StrideX) + 1;

    /// <summary>Floats of an input image.</summary>
    public nint InputLength => (nint)Height * Width * Channels;

    /// <summary>Floats of an output image.</summary>
    public nint OutputLength => (nint)OutputHeight * OutputWidth * Outputs;

    /// <summary>Floats of the weights.</summary>
    public nint WeightLength => (nint)Outputs * GroupChannels * Taps;

    internal int GroupChannels => Channels / Groups;

    internal int GroupOutputs => Outputs / Groups;

    internal int Taps => KernelHeight * KernelWidth;

    /// <summary>Whether each channel is a convolution of its own with one output.</summary>
    internal bool Depthwise => Groups == Channels && Outputs == Channels && Groups > 1;

    /// <summary>The same shape with the same stride, padding and dilation in both directions, padding on all sides.</summary>
    public static ConvolutionShape Square(
        int height, int width, int channels, int outputs, int kernel, int stride = 1, int padding = 0, int dilation = 1, int groups = 1) =>
        new(height, width, channels, outputs, kernel, kernel)
        {
            StrideY = stride,
            StrideX = stride,
            PadTop = padding,
            PadBottom = padding,
            PadLeft = padding,
            PadRight = padding,
            DilationY = dilation,
            DilationX = dilation,
            Groups = groups,
        };

    /// <summary>Checks that the sizes describe a convolution.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, or the kernel is larger than the padded image.</exception>
    /// <exception cref="ArgumentException">The groups don't divide the channels.</exception>
    public void Validate()
    {
        Positive(Height, nameof(Height));
        Positive(Width, nameof(Width));
        Positive(Channels, nameof(Channels));
        Positive(Outputs, nameof(Outputs));
        Positive(KernelHeight, nameof(KernelHeight));
        Positive(KernelWidth, nameof(KernelWidth));
        Positive(StrideY, nameof(StrideY));
        Positive(StrideX, nameof(StrideX));
        Positive(DilationY, nameof(DilationY));
        Positive(DilationX, nameof(DilationX));
        Positive(Groups, nameof(Groups));
        Guard.Length(PadTop, nameof(PadTop));
        Guard.Length(PadBottom, nameof(PadBottom));
        Guard.Length(PadLeft, nameof(PadLeft));
        Guard.Length(PadRight, nameof(PadRight));
        if (Channels % Groups != 0 || Outputs % Groups != 0)
            Guard.ThrowSegments($"{Groups} groups don't divide {Channels} channels and {Outputs} outputs.", nameof(Groups));
        Fits(KernelHeight, DilationY, (long)Height + PadTop + PadBottom, nameof(KernelHeight));
        Fits(KernelWidth, DilationX, (long)Width + PadLeft + PadRight, nameof(KernelWidth));
    }

    /// <summary>A 1x1 kernel with nothing around it sees pixels, not images: an image is one row.</summary>
    internal ConvolutionShape Flattened()
    {
        bool pointwise = Taps == 1 && StrideY == 1 && StrideX == 1 && PadTop + PadBottom + PadLeft + PadRight == 0;
        return pointwise ? this with { Height = 1, Width = Height * Width } : this;
    }

    private static void Positive(int size, string name) => ArgumentOutOfRangeException.ThrowIfLessThan(size, 1, name);

    private static void Fits(int kernel, int dilation, long size, string name)
    {
        long reach = ((long)dilation * (kernel - 1)) + 1;
        if (reach > size) throw new ArgumentOutOfRangeException(name, kernel, $"The kernel reaches over {reach} of {size} padded pixels.");
        if (size > MaxSide) throw new ArgumentOutOfRangeException(name, size, $"The padded image has {size} pixels in a line; there may be {MaxSide}.");
    }
}
