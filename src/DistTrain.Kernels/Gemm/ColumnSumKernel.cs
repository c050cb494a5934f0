namespace DistTrain.Kernels;

/// <summary>The bias gradient over leaves: 16 columns at a time, pending tree nodes on a stack.</summary>
internal unsafe struct ColumnSumKernel : IRangeKernel
{
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
        float* stack = stackalloc float[LeafTree.StackDepth * 16];
        for (nint j = begin; j < end; j += 16)
        {
            int columns = (int)Math.Min(16, end - j);
            int pending = 0;
            for (int leaf = 0; leaf < Leaves; leaf++)
            {
                T sum = Leaf<T>(leaf, j, columns);
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
