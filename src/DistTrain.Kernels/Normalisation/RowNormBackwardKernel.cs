using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>What a run of <see cref="RowNormBackwardKernel{TStyle}"/> computes, and what its items are.</summary>
internal enum RowNormTask
{
    /// <summary>All gradients in one pass; one item.</summary>
    Everything,

    /// <summary>Those of the parameters; items are features.</summary>
    Parameters,

    /// <summary>That of the input; items are rows, counted through the ranges.</summary>
    Inputs,
}

/// <summary>Norms over rows, backward: see <see cref="LayerNorm"/>. Pending tree nodes wait on a stack, as in <see cref="ColumnSumKernel"/>.</summary>
internal unsafe struct RowNormBackwardKernel<TStyle> : IRangeKernel
    where TStyle : struct, IRowNormStyle
{
    public float* DY;
    public float* X;
    public nint Features;
    public float* Scale;
    public float* Means;
    public float* Reciprocals;
    public KRange* Ranges;
    public int RangeCount;
    public int* LeafStarts;
    public int Leaves;
    public float* DX;
    public float* DScale;
    public float* DShift;
    public RowNormTask Task;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        switch (Task)
        {
            case RowNormTask.Everything: Tree<T>(0, Features); break;
            case RowNormTask.Parameters: Tree<T>(begin, end); break;
            default: Inputs<T>(begin, end); break;
        }
    }

    private readonly void Inputs<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        nint passed = 0;
        for (int r = 0; r < RangeCount && passed < end; r++)
        {
            nint first = Math.Max(begin - passed, 0);
            nint last = Math.Min(end - passed, Ranges[r].Count);
            nint row = Ranges[r].Start + first;
            nint stop = Ranges[r].Start + last;
            for (; LaneMath.InFours<T>() && Features % 16 == 0 && row <= stop - 4; row += 4) Rows<T, Rows4, No>(row, null, null);
            for (; row < stop; row++) Rows<T, Rows1, No>(row, null, null);
            passed += Ranges[r].Count;
        }
    }

    /// <summary>The gradients of parameters [begin, end) over all leaves, and with <see cref="RowNormTask.Everything"/> those of the rows.</summary>
    private readonly void Tree<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        nint size = (end - begin + 15) & ~15;
        int depth = System.Numerics.BitOperations.Log2((uint)Leaves) + 2;
        float* stack = Workspace.Get(depth * 2 * size);
        int pending = 0;
        for (int leaf = 0; leaf < Leaves; leaf++)
        {
            float* sums = stack + (pending * 2 * size);
            for (nint i = 0; i < 2 * size; i += 16) T.Store(sums + i, T.Zero);
            for (int r = LeafStarts[leaf]; r < LeafStarts[leaf + 1]; r++)
            {
                if (Task == RowNormTask.Everything) RangeOfRows<T>(Ranges[r], sums, sums + size);
                else Columns<T>(Ranges[r], begin, end, sums, sums + size);
            }
            pending++;
            for (int joins = LeafTree.Joins(leaf, leaf == Leaves - 1, pending - 1); joins > 0; joins--)
            {
                pending--;
                float* left = stack + ((pending - 1) * 2 * size);
                for (nint i = 0; i < 2 * size; i += 16) T.Store(left + i, T.Load(left + i) + T.Load(left + (2 * size) + i));
            }
        }
        for (nint i = begin; i < end; i += 16)
        {
            int count = (int)Math.Min(16, end - i);
            T.StorePartial(DScale + i, T.Load(stack + i - begin), count);
            if (TStyle.Centred) T.StorePartial(DShift + i, T.Load(stack + size + i - begin), count);
        }
    }

    private readonly void RangeOfRows<T>(KRange range, float* scaleSums, float* shiftSums)
        where T : struct, ILanes<T>
    {
        nint row = range.Start;
        nint stop = row + range.Count;
        for (; LaneMath.InFours<T>() && Features % 16 == 0 && row <= stop - 4; row += 4) Rows<T, Rows4, Yes>(row, scaleSums, shiftSums);
        for (; row < stop; row++) Rows<T, Rows1, Yes>(row, scaleSums, shiftSums);
    }

    private readonly void Columns<T>(KRange range, nint begin, nint end, float* scaleSums, float* shiftSums)
        where T : struct, ILanes<T>
    {
        for (nint row = range.Start; row < range.Start + range.Count; row++)
        {
            T mean = TStyle.Centred ? T.Broadcast(Means[row]) : T.Zero;
            T r = T.Broadcast(Reciprocals[row]);
            for (nint i = begin; i < end; i += 16)
            {
                int count = (int)Math.Min(16, end - i);
                T g = T.LoadPartial(DY + (row * Features) + i, count);
                T n = Normal(T.LoadPartial(X + (row * Features) + i, count), mean, r);
                T.Store(scaleSums + i - begin, T.Fma(g, n, T.Load(scaleSums + i - begin)));
                if (TStyle.Centred) T.Store(shiftSums + i - begin, T.Load(shiftSums + i - begin) + g);
            }
        }
    }

    // Four rows at once only where there are no partial vectors: that much code the JIT would not inline.
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private readonly void Rows<T, TRows, TParameters>(nint row, float* scaleSums, float* shiftSums)
        where T : struct, ILanes<T>
        where TRows : struct, ICount
        where TParameters : struct, IChoice
    {
        nint features = Features;
        nint whole = features & ~15;
        int rest = (int)(features - whole);
        float* x = X + (row * features);
        float* g = DY + (row * features);
        T m0 = Mean<T>(row), r0 = T.Broadcast(Reciprocals[row]);
        T m1 = TRows.Count > 1 ? Mean<T>(row + 1) : T.Zero, r1 = TRows.Count > 1 ? T.Broadcast(Reciprocals[row + 1]) : T.Zero;
        T m2 = TRows.Count > 2 ? Mean<T>(row + 2) : T.Zero, r2 = TRows.Count > 2 ? T.Broadcast(Reciprocals[row + 2]) : T.Zero;
        T m3 = TRows.Count > 3 ? Mean<T>(row + 3) : T.Zero, r3 = TRows.Count > 3 ? T.Broadcast(Reciprocals[row + 3]) : T.Zero;
        T a0 = T.Zero, a1 = T.Zero, a2 = T.Zero, a3 = T.Zero;
        T b0 = T.Zero, b1 = T.Zero, b2 = T.Zero, b3 = T.Zero;
        nint i = 0;
        for (; i < whole; i += 16)
        {
            Column<T, TRows, TParameters, No>(
                g + i, x + i, i, 16, scaleSums, shiftSums, m0, m1, m2, m3, r0, r1, r2, r3, ref a0, ref a1, ref a2, ref a3, ref b0, ref b1, ref b2, ref b3);
        }
        if (TRows.Count == 1 && rest > 0)
        {
            // Lanes beyond the row must add nothing, even where r is infinite.
            T mask = T.FirstLanes(rest);
            Column<T, TRows, TParameters, Yes>(
                g + i, x + i, i, rest, scaleSums, shiftSums, m0, m1, m2, m3, T.And(r0, mask), T.And(r1, mask), T.And(r2, mask), T.And(r3, mask),
                ref a0, ref a1, ref a2, ref a3, ref b0, ref b1, ref b2, ref b3);
        }
        T unit = T.Broadcast(1f / features);
        Means4<T, TRows>(unit, ref a0, ref a1, ref a2, ref a3);
        Means4<T, TRows>(unit, ref b0, ref b1, ref b2, ref b3);
        float* d = DX + (row * features);
        for (i = 0; i < whole; i += 16) Results<T, TRows, No>(g + i, x + i, d + i, i, 16, m0, m1, m2, m3, r0, r1, r2, r3, a0, a1, a2, a3, b0, b1, b2, b3);
        if (TRows.Count == 1 && rest > 0) Results<T, TRows, Yes>(g + i, x + i, d + i, i, rest, m0, m1, m2, m3, r0, r1, r2, r3, a0, a1, a2, a3, b0, b1, b2, b3);
    }

    /// <summary>16 columns of the rows go into the rows' sums and the parameters'.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly void Column<T, TRows, TParameters, TPartial>(
        float* g, float* x, nint i, int count, float* scaleSums, float* shiftSums, T m0, T m1, T m2, T m3, T r0, T r1, T r2, T r3,
        ref T a0, ref T a1, ref T a2, ref T a3, ref T b0, ref T b1, ref T b2, ref T b3)
        where T : struct, ILanes<T>
        where TRows : struct, ICount
        where TParameters : struct, IChoice
        where TPartial : struct, IChoice
    {
        nint f = Features;
        T scale = Load<T, TPartial>(Scale + i, count);
        T dScale = TParameters.Taken ? T.Load(scaleSums + i) : T.Zero;
        T dShift = TParameters.Taken && TStyle.Centred ? T.Load(shiftSums + i) : T.Zero;
        Gather<T, TParameters>(Load<T, TPartial>(g, count), Load<T, TPartial>(x, count), scale, m0, r0, ref a0, ref b0, ref dScale, ref dShift);
        if (TRows.Count > 1)
            Gather<T, TParameters>(Load<T, TPartial>(g + f, count), Load<T, TPartial>(x + f, count), scale, m1, r1, ref a1, ref b1, ref dScale, ref dShift);
        if (TRows.Count > 2)
        {
            Gather<T, TParameters>(
                Load<T, TPartial>(g + (2 * f), count), Load<T, TPartial>(x + (2 * f), count), scale, m2, r2, ref a2, ref b2, ref dScale, ref dShift);
        }
        if (TRows.Count > 3)
        {
            Gather<T, TParameters>(
                Load<T, TPartial>(g + (3 * f), count), Load<T, TPartial>(x + (3 * f), count), scale, m3, r3, ref a3, ref b3, ref dScale, ref dShift);
        }
        if (TParameters.Taken) T.Store(scaleSums + i, dScale);
        if (TParameters.Taken && TStyle.Centred) T.Store(shiftSums + i, dShift);
    }

    /// <summary>16 columns of the rows' gradients.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly void Results<T, TRows, TPartial>(
        float* g, float* x, float* d, nint i, int count, T m0, T m1, T m2, T m3, T r0, T r1, T r2, T r3, T a0, T a1, T a2, T a3, T b0, T b1, T b2, T b3)
        where T : struct, ILanes<T>
        where TRows : struct, ICount
        where TPartial : struct, IChoice
    {
        nint f = Features;
        T scale = Load<T, TPartial>(Scale + i, count);
        Store<T, TPartial>(d, count, Finish(Load<T, TPartial>(g, count), Load<T, TPartial>(x, count), scale, m0, r0, a0, b0));
        if (TRows.Count > 1)
            Store<T, TPartial>(d + f, count, Finish(Load<T, TPartial>(g + f, count), Load<T, TPartial>(x + f, count), scale, m1, r1, a1, b1));
        if (TRows.Count > 2)
            Store<T, TPartial>(d + (2 * f), count, Finish(Load<T, TPartial>(g + (2 * f), count), Load<T, TPartial>(x + (2 * f), count), scale, m2, r2, a2, b2));
        if (TRows.Count > 3)
            Store<T, TPartial>(d + (3 * f), count, Finish(Load<T, TPartial>(g + (3 * f), count), Load<T, TPartial>(x + (3 * f), count), scale, m3, r3, a3, b3));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly T Mean<T>(nint row)
        where T : struct, ILanes<T> => TStyle.Centred ? T.Broadcast(Means[row]) : T.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Load<T, TPartial>(float* source, int count)
        where T : struct, ILanes<T>
        where TPartial : struct, IChoice => TPartial.Taken ? T.LoadPartial(source, count) : T.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<T, TPartial>(float* target, int count, T value)
        where T : struct, ILanes<T>
        where TPartial : struct, IChoice
    {
        if (TPartial.Taken) T.StorePartial(target, value, count);
        else T.Store(target, value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Normal<T>(T x, T mean, T r)
        where T : struct, ILanes<T> => TStyle.Centred ? (x - mean) * r : x * r;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Gather<T, TParameters>(T g, T x, T scale, T mean, T r, ref T a, ref T b, ref T dScale, ref T dShift)
        where T : struct, ILanes<T>
        where TParameters : struct, IChoice
    {
        T n = Normal(x, mean, r);
        T t = g * scale;
        if (TStyle.Centred) a += t;
        b = T.Fma(t, n, b);
        if (!TParameters.Taken) return;
        dScale = T.Fma(g, n, dScale);
        if (TStyle.Centred) dShift += g;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Means4<T, TRows>(T unit, ref T s0, ref T s1, ref T s2, ref T s3)
        where T : struct, ILanes<T>
        where TRows : struct, ICount
    {
        s0 = T.SumInAll(s0) * unit;
        if (TRows.Count > 1) s1 = T.SumInAll(s1) * unit;
        if (TRows.Count > 2) s2 = T.SumInAll(s2) * unit;
        if (TRows.Count > 3) s3 = T.SumInAll(s3) * unit;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Finish<T>(T g, T x, T scale, T mean, T r, T a, T b)
        where T : struct, ILanes<T>
    {
        T n = Normal(x, mean, r);
        T t = g * scale;
        if (TStyle.Centred) t -= a;
        return T.Fma(T.Zero - n, b, t) * r;
    }
}
