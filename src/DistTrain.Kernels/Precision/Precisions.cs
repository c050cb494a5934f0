namespace DistTrain.Kernels;

/// <summary>
/// Conversions between fp32 and the 16-bit formats. Widening is exact. Narrowing rounds to nearest, ties to even: bf16 by
/// integer arithmetic, fp16 with denormals and, from 65,520 on, infinity. NaN stays NaN, zero keeps its sign.
/// </summary>
public static unsafe class Precisions
{
    /// <summary>y = x in <paramref name="format"/>; the arrays lie apart, or are the same when the format is fp32.</summary>
    /// <param name="x">(length): fp32.</param>
    /// <param name="y">(length): in <paramref name="format"/>.</param>
    /// <param name="format">What y holds.</param>
    /// <param name="length">How many values.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void FromFloat32(float* x, void* y, FloatFormat format, nint length, KernelPool? pool = null)
    {
        Check(x, y, format, length);
        switch (format)
        {
            case FloatFormat.BFloat16: Run(new Narrowing<BFloat16Format> { X = x, Y = y }, length, pool); break;
            case FloatFormat.Float16: Run(new Narrowing<Float16Format> { X = x, Y = y }, length, pool); break;
            default: Elementwise.Copy(x, (float*)y, length, pool); break;
        }
    }

    /// <summary>y = x from <paramref name="format"/>; the arrays lie apart, or are the same when the format is fp32.</summary>
    /// <param name="x">(length): in <paramref name="format"/>.</param>
    /// <param name="format">What x holds.</param>
    /// <param name="y">(length): fp32.</param>
    /// <param name="length">How many values.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void ToFloat32(void* x, FloatFormat format, float* y, nint length, KernelPool? pool = null)
    {
        Check(y, x, format, length);
        switch (format)
        {
            case FloatFormat.BFloat16: Run(new Widening<BFloat16Format> { X = x, Y = y }, length, pool); break;
            case FloatFormat.Float16: Run(new Widening<Float16Format> { X = x, Y = y }, length, pool); break;
            default: Elementwise.Copy((float*)x, y, length, pool); break;
        }
    }

    /// <summary>x becomes the nearest values that <paramref name="format"/> has, which stay fp32 in memory.</summary>
    /// <param name="x">(length): fp32, updated.</param>
    /// <param name="format">What the values have to fit.</param>
    /// <param name="length">How many values.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Round(float* x, FloatFormat format, nint length, KernelPool? pool = null)
    {
        Guard.Length(length, nameof(length));
        Guard.NotNull(x, length, nameof(x));
        switch (format)
        {
            case FloatFormat.Float32: break;
            case FloatFormat.BFloat16: Run(new Rounding<BFloat16Format> { X = x }, length, pool); break;
            case FloatFormat.Float16: Run(new Rounding<Float16Format> { X = x }, length, pool); break;
            default: throw new ArgumentOutOfRangeException(nameof(format), format, "Unknown float format.");
        }
    }

    private static void Run<TKernel>(TKernel kernel, nint length, KernelPool? pool)
        where TKernel : unmanaged, IRangeKernel => RangeRunner.Run(kernel, length, 16, Traversal.Grain, pool);

    private static void Check(float* wide, void* other, FloatFormat format, nint length)
    {
        Guard.Length(length, nameof(length));
        Guard.NotNull(wide, length, nameof(wide));
        Guard.NotNull(other, length, nameof(other));
        if (format.Size() == 2) Guard.BytesApart(wide, length * 4, other, length * 2);
    }

    private struct Narrowing<TFormat> : IRangeKernel
        where TFormat : struct, IFormat
    {
        public float* X;
        public void* Y;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            nint i = begin;
            for (; i <= end - 16; i += 16) TFormat.Store(Y, i, T.Load(X + i));
            int rest = (int)(end - i);
            if (rest > 0) TFormat.StorePartial(Y, i, T.LoadPartial(X + i, rest), rest);
        }
    }

    private struct Rounding<TFormat> : IRangeKernel
        where TFormat : struct, IFormat
    {
        public float* X;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            nint i = begin;
            for (; i <= end - 16; i += 16) T.Store(X + i, TFormat.Round(T.Load(X + i)));
            int rest = (int)(end - i);
            if (rest > 0) T.StorePartial(X + i, TFormat.Round(T.LoadPartial(X + i, rest)), rest);
        }
    }

    private struct Widening<TFormat> : IRangeKernel
        where TFormat : struct, IFormat
    {
        public void* X;
        public float* Y;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            nint i = begin;
            for (; i <= end - 16; i += 16) T.Store(Y + i, TFormat.Load<T>(X, i));
            int rest = (int)(end - i);
            if (rest > 0) T.StorePartial(Y + i, TFormat.LoadPartial<T>(X, i, rest), rest);
        }
    }
}
