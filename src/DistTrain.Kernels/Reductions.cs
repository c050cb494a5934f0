namespace DistTrain.Kernels;

/// <summary>
/// Reductions of contiguous values. Element i goes to lane i mod 16, each lane ascends from its identity, and the
/// lanes join along a fixed tree (lane i with i+8, then i+4, i+2, i+1). A reduction is never split over threads.
/// </summary>
public static unsafe class Reductions
{
    /// <summary>The sum of <paramref name="length"/> values; +0 for none.</summary>
    public static float Sum(float* x, nint length) => Run(x, length, maximum: false);

    /// <summary>The IEEE maximum: NaN when any value is NaN, -∞ for none.</summary>
    public static float Max(float* x, nint length) => Run(x, length, maximum: true);

    private static float Run(float* x, nint length, bool maximum)
    {
        Guard.Length(length, nameof(length));
        Guard.NotNull(x, length, nameof(x));
        float result;
        RangeRunner.Run(new Kernel { X = x, Maximum = maximum, Result = &result }, length, 16, nint.MaxValue, pool: null);
        return result;
    }

    /// <summary>The sum, for kernels that reduce a row within their own loop.</summary>
    internal static float Sum<T>(float* x, nint length)
        where T : struct, ILanes<T>
    {
        T sum = T.Zero;
        nint i = 0;
        for (; i <= length - 16; i += 16) sum += T.Load(x + i);
        // The lanes beyond the end add +0, which changes no sum that started from +0.
        if (i < length) sum += T.LoadPartial(x + i, (int)(length - i));
        return T.Sum(sum);
    }

    /// <summary>The maximum, for kernels that reduce a row within their own loop.</summary>
    internal static float Max<T>(float* x, nint length)
        where T : struct, ILanes<T>
    {
        T max = T.Broadcast(float.NegativeInfinity);
        nint i = 0;
        for (; i <= length - 16; i += 16) max = T.Max(max, T.Load(x + i));
        if (i < length)
        {
            int rest = (int)(length - i);
            max = T.Select(T.FirstLanes(rest), T.Max(max, T.LoadPartial(x + i, rest)), max);
        }
        return T.MaxOf(max);
    }

    private struct Kernel : IRangeKernel
    {
        public float* X;
        public float* Result;
        public bool Maximum;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T> =>
            *Result = Maximum ? Max<T>(X + begin, end - begin) : Sum<T>(X + begin, end - begin);
    }
}
