namespace DistTrain.Kernels;

/// <summary>
/// Max and average pooling of fp32 images in (example, y, x, channel) order, and their gradients;
/// <see cref="PoolingShape"/> has the sizes. Pixels outside the image are in no window.
/// </summary>
public static unsafe class Pooling
{
    // Outputs times window size that a thread should have at least.
    private const double GrainWork = 64 * 1024;

    /// <summary>
    /// y = the maximum of each window, and where it was: the first largest in (ky, kx) order; a NaN beats any number,
    /// the last one of a window stays.
    /// </summary>
    /// <param name="shape">The pooling.</param>
    /// <param name="examples">How many images.</param>
    /// <param name="x">(examples, height, width, channels).</param>
    /// <param name="y">(examples, output height, output width, channels): overwritten.</param>
    /// <param name="taps">Like y: receives ky·kernel width + kx of each maximum; null when no gradient will be asked for.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Max(in PoolingShape shape, int examples, float* x, float* y, int* taps, KernelPool? pool = null)
    {
        Check(shape, examples, x, nameof(x), y, nameof(y));
        Guard.Apart((float*)taps, taps == null ? 0 : examples * shape.OutputLength, x, examples * shape.InputLength);
        Guard.Apart((float*)taps, taps == null ? 0 : examples * shape.OutputLength, y, examples * shape.OutputLength);
        Run(new MaxPoolKernel { Shape = shape, X = x, Y = y, Taps = taps }, shape, examples, pool);
    }

    /// <summary>
    /// dX = the gradient at a max pooling's input: an element adds, from +0, over the windows that it is in, (y, x)
    /// ascending, dY where it was the maximum and +0 elsewhere.
    /// </summary>
    /// <param name="shape">The pooling.</param>
    /// <param name="examples">How many images.</param>
    /// <param name="dY">(examples, output height, output width, channels).</param>
    /// <param name="taps">What <see cref="Max"/> wrote.</param>
    /// <param name="dX">(examples, height, width, channels): overwritten.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void MaxGradient(in PoolingShape shape, int examples, float* dY, int* taps, float* dX, KernelPool? pool = null)
    {
        Check(shape, examples, dX, nameof(dX), dY, nameof(dY));
        Guard.NotNull(taps, examples * shape.OutputLength, nameof(taps));
        Guard.Apart((float*)taps, examples * shape.OutputLength, dX, examples * shape.InputLength);
        Run(new MaxPoolGradientKernel { Shape = shape, DY = dY, Taps = taps, DX = dX }, shape, examples, pool);
    }

    /// <summary>y = the sum of each window from +0 over (ky, kx) ascending, divided by the number of its pixels.</summary>
    /// <param name="shape">The pooling; <see cref="PoolingShape.Global"/> for the whole image.</param>
    /// <param name="examples">How many images.</param>
    /// <param name="x">(examples, height, width, channels).</param>
    /// <param name="y">(examples, output height, output width, channels): overwritten.</param>
    /// <param name="countPadding">Whether the divisor counts pixels outside the image too.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Average(in PoolingShape shape, int examples, float* x, float* y, bool countPadding, KernelPool? pool = null)
    {
        Check(shape, examples, x, nameof(x), y, nameof(y));
        Run(new AveragePoolKernel { Shape = shape, X = x, Y = y, CountPadding = countPadding }, shape, examples, pool);
    }

    /// <summary>
    /// dX = the gradient at an average pooling's input: an element adds, from +0, over the windows that it is in,
    /// (y, x) ascending, dY divided by the window's divisor.
    /// </summary>
    /// <param name="shape">The pooling.</param>
    /// <param name="examples">How many images.</param>
    /// <param name="dY">(examples, output height, output width, channels).</param>
    /// <param name="dX">(examples, height, width, channels): overwritten.</param>
    /// <param name="countPadding">As in <see cref="Average"/>.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void AverageGradient(in PoolingShape shape, int examples, float* dY, float* dX, bool countPadding, KernelPool? pool = null)
    {
        Check(shape, examples, dX, nameof(dX), dY, nameof(dY));
        Run(new AveragePoolGradientKernel { Shape = shape, DY = dY, DX = dX, CountPadding = countPadding }, shape, examples, pool);
    }

    private static void Check(in PoolingShape shape, int examples, float* x, string nameX, float* y, string nameY)
    {
        shape.Validate();
        Guard.Length(examples, nameof(examples));
        Guard.NotNull(x, examples, nameX);
        Guard.NotNull(y, examples, nameY);
        Guard.Apart(x, examples * shape.InputLength, y, examples * shape.OutputLength);
    }

    // Items are images.
    private static void Run<TKernel>(TKernel kernel, in PoolingShape shape, int examples, KernelPool? pool)
        where TKernel : unmanaged, IRangeKernel =>
        RangeRunner.Run(kernel, examples, 1, (nint)Math.Max(1, GrainWork / ((double)shape.OutputLength * shape.Taps)), pool);
}
