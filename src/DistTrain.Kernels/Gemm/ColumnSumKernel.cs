using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>The bias gradient over leaves: 64 columns at a time where there are as many, else 16, pending tree nodes on a stack.</summary>
internal unsafe struct ColumnSumKernel : IRangeKernel
{
    private const int Wide = 64;

    public float* DY;
    public nint StrideDY;
    public KRange* Ranges;

    /// <summary>Rows of dY that a range's one stands for: the pixels of an image, else 1.</summary>
    public nint RangeUnit;

    public int* LeafStarts;
    public int Leaves;
    public float* Sums;

    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        float* stack = stackalloc float[LeafTree.StackDepth * Wide];
        nint j = begin;
        for (; j <= end - Wide; j += Wide) Columns<T>(j, Wide, stack);
        for (; j < end; j += 16) Columns<T>(j, (int)Math.Min(16, end - j), stack);
    }

    private readonly void Columns<T>(nint column, int columns, float* stack)
        where T : struct, ILanes<T>
    {
        int pending = 0;
        for (int leaf = 0; leaf < Leaves; leaf++)
        {
            float* top = stack + (pending * Wide);
            if (columns == Wide) FourBlocks<T>(leaf, column, top);
            else T.Store(top, Leaf<T>(leaf, column, columns));
            for (int joins = LeafTree.Joins(leaf, leaf == Leaves - 1, pending); joins > 0; joins--, pending--, top -= Wide)
            {
                for (int c = 0; c < columns; c += 16) T.Store(top + c - Wide, T.Load(top + c - Wide) + T.Load(top + c));
            }
            pending++;
        }
        for (int c = 0; c < columns; c += 16) T.StorePartial(Sums + column + c, T.Load(stack + c), Math.Min(16, columns - c));
    }

    // One chain of additions waits for itself, and a row's neighbouring lines come together.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void FourBlocks<T>(int leaf, nint column, float* to)
        where T : struct, ILanes<T>
    {
        T s0 = T.Zero, s1 = T.Zero, s2 = T.Zero, s3 = T.Zero;
        for (int range = LeafStarts[leaf]; range < LeafStarts[leaf + 1]; range++)
        {
            float* y = DY + (Ranges[range].Start * RangeUnit * StrideDY) + column;
            for (nint count = Ranges[range].Count * RangeUnit; count > 0; count--, y += StrideDY)
            {
                s0 += T.Load(y);
                s1 += T.Load(y + 16);
                s2 += T.Load(y + 32);
                s3 += T.Load(y + 48);
            }
        }
        T.Store(to, s0);
        T.Store(to + 16, s1);
        T.Store(to + 32, s2);
        T.Store(to + 48, s3);
    }

    private readonly T Leaf<T>(int leaf, nint j, int columns)
        where T : struct, ILanes<T>
    {
        T sum = T.Zero;
        for (int range = LeafStarts[leaf]; range < LeafStarts[leaf + 1]; range++)
        {
            float* y = DY + (Ranges[range].Start * RangeUnit * StrideDY) + j;
            nint count = Ranges[range].Count * RangeUnit;
            if (columns == 16)
                for (; count > 0; count--, y += StrideDY) sum += T.Load(y);
            else
                for (; count > 0; count--, y += StrideDY) sum += T.LoadPartial(y, columns);
        }
        return sum;
    }
}
