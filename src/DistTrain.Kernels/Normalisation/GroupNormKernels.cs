using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>Group norm, forward: see <see cref="GroupNorm"/>. An item is an example.</summary>
internal unsafe struct GroupNormForwardKernel : IRangeKernel
{
    public float* X;
    public nint Positions;
    public nint Channels;
    public nint Groups;
    public float* Scale;
    public float* Shift;
    public float Epsilon;
    public float* Y;
    public float* Means;
    public float* Reciprocals;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        nint width = Channels / Groups;
        float unit = 1f / (Positions * width);
        float* sums = Workspace.Get(3 * Channels);
        float* means = sums + Channels;
        float* reciprocals = means + Channels;
        for (nint example = begin; example < end; example++)
        {
            nint offset = example * Positions * Channels;
            Elementwise.Fill(sums, Channels, 0);
            ColumnPass.Sum<T, PlainSum>(X + offset, null, Channels, Positions, Channels, null, null, sums, null);
            for (nint g = 0; g < Groups; g++)
            {
                float mean = Reductions.Sum<T>(sums + (g * width), width) * unit;
                Means[(example * Groups) + g] = mean;
                Elementwise.Fill(means + (g * width), width, mean);
            }
            Elementwise.Fill(sums, Channels, 0);
            ColumnPass.Sum<T, SquareSum>(X + offset, null, Channels, Positions, Channels, means, null, sums, null);
            for (nint g = 0; g < Groups; g++)
            {
                float variance = Reductions.Sum<T>(sums + (g * width), width) * unit;
                float r = 1f / MathF.Sqrt(variance + Epsilon);
                Reciprocals[(example * Groups) + g] = r;
                Elementwise.Fill(reciprocals + (g * width), width, r);
            }
            ColumnPass.Normalise<T>(X + offset, Y + offset, Channels, Positions, Channels, means, reciprocals, Scale, Shift);
        }
    }
}

/// <summary>Group norm, backward: see <see cref="GroupNorm"/>. An item is an example.</summary>
internal unsafe struct GroupNormBackwardKernel : IRangeKernel
{
    public float* DY;
    public float* X;
    public nint Positions;
    public nint Channels;
    public nint Groups;
    public float* Scale;
    public float* Means;
    public float* Reciprocals;
    public float* DX;

    /// <summary>(examples, 6, channels): B and G, which stay, then means, reciprocals, a and b of each channel.</summary>
    public float* Scratch;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        nint width = Channels / Groups;
        float unit = 1f / (Positions * width);
        for (nint example = begin; example < end; example++)
        {
            nint offset = example * Positions * Channels;
            float* shiftSums = Scratch + (example * 6 * Channels);
            float* scaleSums = shiftSums + Channels;
            float* means = scaleSums + Channels;
            float* reciprocals = means + Channels;
            float* a = reciprocals + Channels;
            float* b = a + Channels;
            Elementwise.Fill(shiftSums, 2 * Channels, 0);
            for (nint g = 0; g < Groups; g++)
            {
                Elementwise.Fill(means + (g * width), width, Means[(example * Groups) + g]);
                Elementwise.Fill(reciprocals + (g * width), width, Reciprocals[(example * Groups) + g]);
            }
            ColumnPass.Sum<T, GradientSums>(DY + offset, X + offset, Channels, Positions, Channels, means, reciprocals, shiftSums, scaleSums);
            for (nint g = 0; g < Groups; g++)
            {
                nint first = g * width;
                Elementwise.Fill(a + first, width, Dot<T>(Scale + first, shiftSums + first, width) * unit);
                Elementwise.Fill(b + first, width, Dot<T>(Scale + first, scaleSums + first, width) * unit);
            }
            ColumnPass.Gradient<T>(DY + offset, X + offset, DX + offset, Channels, Positions, Channels, means, reciprocals, Scale, a, b);
        }
    }

    private static float Dot<T>(float* x, float* y, nint length)
        where T : struct, ILanes<T>
    {
        T sum = T.Zero;
        for (nint i = 0; i < length; i += 16)
        {
            int count = (int)Math.Min(16, length - i);
            sum = T.Fma(T.LoadPartial(x + i, count), T.LoadPartial(y + i, count), sum);
        }
        return T.Sum(sum);
    }
}
