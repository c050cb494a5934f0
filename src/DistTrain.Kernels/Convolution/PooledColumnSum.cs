using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// <see cref="ColumnSumKernel"/> over a gradient behind a pooling: rows of pixels in order, each from the windows that lie
/// over it. The +0 of a window's other pixels changes no sum from +0, so only what a row has of a window is added. All
/// columns go together, so that the gradient passes once.
/// </summary>
internal unsafe struct PooledColumnSum : IRangeKernel
{
    // Columns that go together.
    private const int Most = 128;

    public ConvSource DY;
    public KRange* Ranges;
    public int* LeafStarts;
    public int Leaves;
    public float* Sums;

    /// <inheritdoc/>
    [SkipLocalsInit]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        float* stack = stackalloc float[LeafTree.StackDepth * Most];
        for (nint j = begin; j < end; j += Most)
        {
            int columns = (int)Math.Min(Most, end - j);
            int pending = 0;
            for (int leaf = 0; leaf < Leaves; leaf++)
            {
                float* top = stack + (pending * Most);
                for (int c = 0; c < columns; c += 16) T.Store(top + c, T.Zero);
                for (int r = LeafStarts[leaf]; r < LeafStarts[leaf + 1]; r++)
                {
                    for (int example = Ranges[r].Start; example < Ranges[r].Start + Ranges[r].Count; example++)
                        Image<T>(example, j, columns, top);
                }
                for (int joins = LeafTree.Joins(leaf, leaf == Leaves - 1, pending); joins > 0; joins--, pending--, top -= Most)
                {
                    for (int c = 0; c < columns; c += 16) T.Store(top + c - Most, T.Load(top + c - Most) + T.Load(top + c));
                }
                pending++;
            }
            for (int c = 0; c < columns; c += 16) T.StorePartial(Sums + j + c, T.Load(stack + c), Math.Min(16, columns - c));
        }
    }

    private readonly void Image<T>(int example, nint column, int columns, float* sums)
        where T : struct, ILanes<T>
    {
        nint row = (nint)(DY.Width / 2) * DY.Channels;
        nint at = ((nint)example * (DY.Height / 2) * row) + column;
        for (int y = DY.Height / 2; y > 0; y--, at += row)
        {
            int c = 0;
            for (; c <= columns - 32; c += 32) Pair<T>(at + c, sums + c);
            for (; c < columns; c += 16) Row<T>(at + c, Math.Min(16, columns - c), sums + c);
        }
    }

    // Two blocks: one chain of additions waits for itself.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Pair<T>(nint at, float* sums)
        where T : struct, ILanes<T>
    {
        float* taps = DY.Taps + at;
        float* values = DY.Values + at;
        nint channels = DY.Channels;
        T split = T.Broadcast(1.5f), none = T.Broadcast(3.5f);
        T a = T.Load(sums), b = T.Load(sums + 16);
        nint end = (nint)(DY.Width / 2) * channels;
        for (nint i = 0; i < end; i += channels)
        {
            a += T.And(T.LessThan(T.Load(taps + i), split), T.Load(values + i));
            b += T.And(T.LessThan(T.Load(taps + i + 16), split), T.Load(values + i + 16));
        }
        for (nint i = 0; i < end; i += channels)
        {
            T t = T.Load(taps + i), u = T.Load(taps + i + 16);
            a += T.And(T.And(T.LessThan(split, t), T.LessThan(t, none)), T.Load(values + i));
            b += T.And(T.And(T.LessThan(split, u), T.LessThan(u, none)), T.Load(values + i + 16));
        }
        T.Store(sums, a);
        T.Store(sums + 16, b);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Row<T>(nint at, int columns, float* sums)
        where T : struct, ILanes<T>
    {
        T split = T.Broadcast(1.5f), none = T.Broadcast(3.5f);
        T sum = T.Load(sums);
        nint end = (nint)(DY.Width / 2) * DY.Channels;
        for (nint i = at; i < at + end; i += DY.Channels)
            sum += T.And(T.LessThan(T.LoadPartial(DY.Taps + i, columns), split), T.LoadPartial(DY.Values + i, columns));
        for (nint i = at; i < at + end; i += DY.Channels)
        {
            T tap = T.LoadPartial(DY.Taps + i, columns);
            sum += T.And(T.And(T.LessThan(split, tap), T.LessThan(tap, none)), T.LoadPartial(DY.Values + i, columns));
        }
        T.Store(sums, sum);
    }
}
