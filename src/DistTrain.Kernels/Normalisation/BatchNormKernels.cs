using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>Batch norm, forward: see <see cref="BatchNorm"/>. An item is a part of the channels of a leaf.</summary>
internal unsafe struct BatchNormForwardKernel : IRangeKernel
{
    private const int Most = 256;

    public float* X;
    public nint Channels;
    public KRange* Ranges;
    public int* LeafStarts;
    public float* Scale;
    public float* Shift;
    public float Epsilon;
    public float* RunningMean;
    public float* RunningVariance;
    public float* Y;
    public float* Means;
    public float* Reciprocals;
    public nint Parts;

    /// <summary>(leaves, 2, channels): n·mean and n·M / (n - 1).</summary>
    public float* LeafSums;

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        float* room = stackalloc float[2 * Most];
        for (nint item = begin; item < end; item++)
        {
            nint leaf = item / Parts;
            nint first = RangeRunner.Cut(Channels, 16, (int)Parts, (int)(item % Parts));
            nint last = RangeRunner.Cut(Channels, 16, (int)Parts, (int)(item % Parts) + 1);
            // Channels go in groups, whose statistics of a block have room here.
            for (nint c = first; c < last; c += Most) Group<T>(leaf, c, Math.Min(Most, last - c), room);
        }
    }

    private readonly void Group<T>(nint leaf, nint channel, nint count, float* room)
        where T : struct, ILanes<T>
    {
        float* means = Means + (leaf * Channels) + channel;
        float* reciprocals = Reciprocals + (leaf * Channels) + channel;
        float* sums = LeafSums + (leaf * 2 * Channels) + channel;
        nint rows = BatchNorm.Count(Ranges, LeafStarts, leaf);
        if (rows < 2) TakeRunning<T>(channel, count, means, reciprocals, sums);
        else Statistics<T>(leaf, channel, count, rows, means, reciprocals, sums, room);
        for (int r = LeafStarts[leaf]; r < LeafStarts[leaf + 1]; r++)
        {
            nint offset = ((nint)Ranges[r].Start * Channels) + channel;
            ColumnPass.Normalise<T>(
                X + offset, Y + offset, Channels, Ranges[r].Count, count, means, reciprocals, Scale + channel, Shift + channel);
        }
    }

    private readonly void TakeRunning<T>(nint channel, nint count, float* means, float* reciprocals, float* sums)
        where T : struct, ILanes<T>
    {
        for (nint c = 0; c < count; c += 16)
        {
            int lanes = (int)Math.Min(16, count - c);
            T.StorePartial(means + c, T.LoadPartial(RunningMean + channel + c, lanes), lanes);
            T.StorePartial(reciprocals + c, Reciprocal(T.LoadPartial(RunningVariance + channel + c, lanes)), lanes);
            T.StorePartial(sums + c, T.Zero, lanes);
            T.StorePartial(sums + Channels + c, T.Zero, lanes);
        }
    }

    /// <summary>Means, reciprocals and sums of a leaf; M grows in the place of the reciprocals.</summary>
    private readonly void Statistics<T>(nint leaf, nint channel, nint count, nint rows, float* means, float* reciprocals, float* sums, float* room)
        where T : struct, ILanes<T>
    {
        float* blockMeans = room;
        float* blockSquares = room + Most;
        nint before = 0;
        for (int r = LeafStarts[leaf]; r < LeafStarts[leaf + 1]; r++)
        {
            float* x = X + ((nint)Ranges[r].Start * Channels) + channel;
            for (nint left = Ranges[r].Count; left > 0; left -= BatchNorm.StatisticsBlock)
            {
                nint block = Math.Min(BatchNorm.StatisticsBlock, left);
                for (nint c = 0; c < count; c += 16)
                {
                    T.Store(blockMeans + c, T.Zero);
                    T.Store(blockSquares + c, T.Zero);
                }
                ColumnPass.Sum<T, PlainSum>(x, null, Channels, block, count, null, null, blockMeans, null);
                T unit = T.Broadcast(1f / block);
                for (nint c = 0; c < count; c += 16) T.Store(blockMeans + c, T.Load(blockMeans + c) * unit);
                ColumnPass.Sum<T, SquareSum>(x, null, Channels, block, count, blockMeans, null, blockSquares, null);
                Join<T>(before, block, count, blockMeans, blockSquares, means, reciprocals);
                before += block;
                x += block * Channels;
            }
        }
        T all = T.Broadcast(rows);
        T share = T.Broadcast(1f / rows);
        T others = T.Broadcast(rows - 1);
        for (nint c = 0; c < count; c += 16)
        {
            int lanes = (int)Math.Min(16, count - c);
            T squares = T.LoadPartial(reciprocals + c, lanes);
            T.StorePartial(sums + c, all * T.LoadPartial(means + c, lanes), lanes);
            T.StorePartial(sums + Channels + c, all * (squares / others), lanes);
            T.StorePartial(reciprocals + c, Reciprocal(squares * share), lanes);
        }
    }

    private static void Join<T>(nint before, nint block, nint count, float* blockMeans, float* blockSquares, float* means, float* squares)
        where T : struct, ILanes<T>
    {
        float share = (float)block / (before + block);
        T f = T.Broadcast(share);
        T mf = T.Broadcast(before * share);
        for (nint c = 0; c < count; c += 16)
        {
            int lanes = (int)Math.Min(16, count - c);
            T mean = T.Load(blockMeans + c);
            T square = T.Load(blockSquares + c);
            if (before > 0)
            {
                T old = T.LoadPartial(means + c, lanes);
                T e = mean - old;
                mean = T.Fma(e, f, old);
                square = T.Fma(e * e, mf, T.LoadPartial(squares + c, lanes) + square);
            }
            T.StorePartial(means + c, mean, lanes);
            T.StorePartial(squares + c, square, lanes);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly T Reciprocal<T>(T variance)
        where T : struct, ILanes<T> => T.Broadcast(1f) / T.Sqrt(variance + T.Broadcast(Epsilon));
}

/// <summary>Batch norm, backward: see <see cref="BatchNorm"/>. An item is a part of the channels of a leaf.</summary>
internal unsafe struct BatchNormBackwardKernel : IRangeKernel
{
    public float* DY;
    public float* X;
    public nint Channels;
    public KRange* Ranges;
    public int* LeafStarts;
    public float* Scale;
    public float* Means;
    public float* Reciprocals;
    public float* DX;
    public nint Parts;

    /// <summary>(leaves, 2, channels): B and G.</summary>
    public float* LeafSums;

    /// <summary>(leaves, 2, channels): a and b.</summary>
    public float* Factors;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        for (nint item = begin; item < end; item++)
        {
            nint leaf = item / Parts;
            nint channel = RangeRunner.Cut(Channels, 16, (int)Parts, (int)(item % Parts));
            nint count = RangeRunner.Cut(Channels, 16, (int)Parts, (int)(item % Parts) + 1) - channel;
            float* means = Means + (leaf * Channels) + channel;
            float* reciprocals = Reciprocals + (leaf * Channels) + channel;
            float* sums = LeafSums + (leaf * 2 * Channels) + channel;
            float* factors = Factors + (leaf * 2 * Channels) + channel;
            Elementwise.Fill(sums, count, 0);
            Elementwise.Fill(sums + Channels, count, 0);
            for (int r = LeafStarts[leaf]; r < LeafStarts[leaf + 1]; r++)
            {
                nint offset = ((nint)Ranges[r].Start * Channels) + channel;
                ColumnPass.Sum<T, GradientSums>(
                    DY + offset, X + offset, Channels, Ranges[r].Count, count, means, reciprocals, sums, sums + Channels);
            }
            nint rows = BatchNorm.Count(Ranges, LeafStarts, leaf);
            T unit = T.Broadcast(rows < 2 ? 0 : 1f / rows);
            for (nint c = 0; c < count; c += 16)
            {
                int lanes = (int)Math.Min(16, count - c);
                T scale = T.LoadPartial(Scale + channel + c, lanes);
                T a = rows < 2 ? T.Zero : scale * (T.LoadPartial(sums + c, lanes) * unit);
                T b = rows < 2 ? T.Zero : scale * (T.LoadPartial(sums + Channels + c, lanes) * unit);
                T.StorePartial(factors + c, a, lanes);
                T.StorePartial(factors + Channels + c, b, lanes);
            }
            for (int r = LeafStarts[leaf]; r < LeafStarts[leaf + 1]; r++)
            {
                nint offset = ((nint)Ranges[r].Start * Channels) + channel;
                ColumnPass.Gradient<T>(
                    DY + offset, X + offset, DX + offset, Channels, Ranges[r].Count, count, means, reciprocals, Scale + channel, factors, factors + Channels);
            }
        }
    }
}

/// <summary>Batch norm for evaluation: items are channels, whose reciprocals it makes, or rows.</summary>
internal unsafe struct BatchNormEvaluateKernel : IRangeKernel
{
    public float* X;
    public nint Channels;
    public float* Scale;
    public float* Shift;
    public float Epsilon;
    public float* Mean;
    public float* Variance;
    public float* Y;
    public float* Reciprocals;
    public bool Rows;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        if (Rows)
        {
            nint offset = begin * Channels;
            ColumnPass.Normalise<T>(X + offset, Y + offset, Channels, end - begin, Channels, Mean, Reciprocals, Scale, Shift);
            return;
        }
        for (nint c = begin; c < end; c += 16)
        {
            int lanes = (int)Math.Min(16, end - c);
            T.StorePartial(Reciprocals + c, T.Broadcast(1f) / T.Sqrt(T.LoadPartial(Variance + c, lanes) + T.Broadcast(Epsilon)), lanes);
        }
    }
}
