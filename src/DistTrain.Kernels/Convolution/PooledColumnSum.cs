using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// <see cref="ColumnSumKernel"/> over a gradient behind a pooling: rows of pixels in order, each from the windows that lie
/// over it. The +0 of a window's other pixels changes no sum from +0, so only what a row has of a window is added.
/// </summary>
internal unsafe struct PooledColumnSum : IRangeKernel
{
    public ConvSource DY;
    public KRange* Ranges;
    public int* LeafStarts;
    public int Leaves;
    public float* Sums;

    /// <inheritdoc/>
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        float* stack = stackalloc float[LeafTree.StackDepth * 16];
        for (nint j = begin; j < end; j += 16)
        {
            int columns = (int)Math.Min(16, end - j);
            int pending = 0;
            for (int leaf = 0; leaf < Leaves; leaf++)
            {
                T sum = T.Zero;
                for (int r = LeafStarts[leaf]; r < LeafStarts[leaf + 1]; r++)
                {
                    for (int example = Ranges[r].Start; example < Ranges[r].Start + Ranges[r].Count; example++)
                        sum = Image(example, j, columns, sum);
                }
                for (int joins = LeafTree.Joins(leaf, leaf == Leaves - 1, pending); joins > 0; joins--)
                {
                    pending--;
                    sum = T.Load(stack + (pending * 16)) + sum;
                }
                T.Store(stack + (pending * 16), sum);
                pending++;
            }
            T.StorePartial(Sums + j, T.Load(stack), columns);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly T Image<T>(int example, nint column, int columns, T sum)
        where T : struct, ILanes<T>
    {
        int wide = DY.Width / 2;
        nint at = ((nint)example * (DY.Height / 2) * wide * DY.Channels) + column;
        T split = T.Broadcast(1.5f), none = T.Broadcast(3.5f);
        for (int y = DY.Height / 2; y > 0; y--)
        {
            nint line = at;
            for (int x = wide; x > 0; x--, at += DY.Channels)
                sum += T.And(T.LessThan(Tap<T>(at, columns), split), Value<T>(at, columns));
            at = line;
            for (int x = wide; x > 0; x--, at += DY.Channels)
            {
                T tap = Tap<T>(at, columns);
                sum += T.And(T.And(T.LessThan(split, tap), T.LessThan(tap, none)), Value<T>(at, columns));
            }
        }
        return sum;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly T Tap<T>(nint at, int columns)
        where T : struct, ILanes<T> => columns == 16 ? T.Load(DY.Taps + at) : T.LoadPartial(DY.Taps + at, columns);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly T Value<T>(nint at, int columns)
        where T : struct, ILanes<T> => columns == 16 ? T.Load(DY.Values + at) : T.LoadPartial(DY.Values + at, columns);
}
