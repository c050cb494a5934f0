namespace DistTrain.Kernels;

/// <summary>
/// Batch normalisation (Ioffe and Szegedy, 2015) of the columns of a (rows, channels) array, each shard by itself (ghost
/// batch norm: Hoffer et al., 2017); images lie as (example, y, x, channel) and have example·y·x rows. A leaf is a shard,
/// its ranges are its rows. Numbers of rows are exact up to 2^24 a leaf.
/// </summary>
/// <remarks>
/// Forward, for a channel of a leaf of n rows, n at least 2: the rows go in blocks of at most 64, which restart at each
/// range; of a block of k rows, rows ascending from +0, mean_k = (Σ x)·(1 / k) and M_k = Σ fma(d, d), d = x - mean_k. Blocks
/// join in their order (Chan, Golub and LeVeque, 1979), the first one as it is: f = k / (m + k), m rows being there already,
/// e = mean_k - mean, mean = fma(e, f, mean), M = fma(e·e, m·f, M + M_k). This reads memory once and loses no digits where
/// the mean is far from zero. Variance M·(1 / n), r = 1 / √(variance + ε), y = fma((x - mean)·r, γ, β). A leaf with fewer
/// rows takes the running mean and variance.
/// Backward, rows ascending from +0: B = Σ dy, G = Σ fma(dy, n_i), n_i = (x - mean)·r; dx = fma(-n_i, b, dy·γ - a)·r with
/// a = γ·(B·(1 / n)), b = γ·(G·(1 / n)), or +0 for a leaf of fewer than 2 rows; dβ joins the leaves' B, dγ their G, along
/// the tree of <see cref="SegmentedGemm"/>.
/// </remarks>
public static unsafe class BatchNorm
{
    /// <summary>Rows of a block of the statistics: part of the definition.</summary>
    public const int StatisticsBlock = 64;

    /// <summary>y = norm of x, with the statistics of each leaf.</summary>
    /// <param name="x">(rows, channels), row-major.</param>
    /// <param name="channels">How many channels, at least 1.</param>
    /// <param name="ranges">The rows of all leaves, leaf after leaf; no row twice.</param>
    /// <param name="leafStarts">(leaves + 1): leaf i has ranges [leafStarts[i], leafStarts[i + 1]); at least one leaf.</param>
    /// <param name="scale">(channels): γ.</param>
    /// <param name="shift">(channels): β.</param>
    /// <param name="epsilon">ε, at least 0.</param>
    /// <param name="runningMean">(channels): for leaves of fewer than 2 rows.</param>
    /// <param name="runningVariance">(channels): for leaves of fewer than 2 rows.</param>
    /// <param name="y">(rows, channels): receives the rows of all ranges; may be x.</param>
    /// <param name="means">(leaves, channels): receives the means in use, for the backward pass.</param>
    /// <param name="reciprocals">(leaves, channels): receives r, for the backward pass.</param>
    /// <param name="sums">(2, channels): receives, along the tree, Σ n·mean and Σ n·(M / (n - 1)) over the leaves of at
    /// least 2 rows, the others being +0: what the running mean and variance move towards, once divided by the result.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <returns>Σ n over the leaves of at least 2 rows.</returns>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges.</exception>
    public static float Forward(
        float* x,
        nint channels,
        ReadOnlySpan<KRange> ranges,
        ReadOnlySpan<int> leafStarts,
        float* scale,
        float* shift,
        float epsilon,
        float* runningMean,
        float* runningVariance,
        float* y,
        float* means,
        float* reciprocals,
        float* sums,
        KernelPool? pool = null)
    {
        nint rows = Check(x, channels, ranges, leafStarts, scale, means, reciprocals);
        Guard.NotNull(y, rows, nameof(y));
        Guard.NotNull(shift, channels, nameof(shift));
        Guard.NotNull(runningMean, channels, nameof(runningMean));
        Guard.NotNull(runningVariance, channels, nameof(runningVariance));
        Guard.NotNull(sums, channels, nameof(sums));
        ArgumentOutOfRangeException.ThrowIfNegative(epsilon);
        nint size = rows * channels;
        Guard.SameOrApart(y, x, size);
        int leaves = leafStarts.Length - 1;
        nint kept = leaves * channels;
        Guard.Apart([new(y, size)], [new(scale, channels), new(shift, channels), new(runningMean, channels), new(runningVariance, channels)]);
        Guard.Apart(
            [new(means, kept), new(reciprocals, kept), new(sums, 2 * channels)],
            [new(x, size), new(y, size), new(scale, channels), new(shift, channels), new(runningMean, channels), new(runningVariance, channels)]);
        fixed (KRange* r = ranges)
        fixed (int* l = leafStarts)
        {
            var kernel = new BatchNormForwardKernel
            {
                X = x,
                Channels = channels,
                Ranges = r,
                LeafStarts = l,
                Scale = scale,
                Shift = shift,
                Epsilon = epsilon,
                RunningMean = runningMean,
                RunningVariance = runningVariance,
                Y = y,
                Means = means,
                Reciprocals = reciprocals,
                Parts = Parts(leaves, channels, rows, pool),
                LeafSums = Workspace.Get(leaves * 2 * channels),
            };
            RangeRunner.Run(kernel, leaves * kernel.Parts, 1, 1, rows * channels < Traversal.Grain ? null : pool);
            LeafSum(kernel.LeafSums, 2 * channels, leaves, sums);
            return Weight(r, l, leaves);
        }
    }

    /// <summary>The gradients of x and of both parameters from that of y.</summary>
    /// <param name="dy">(rows, channels).</param>
    /// <param name="x">(rows, channels): the forward pass's input.</param>
    /// <param name="channels">How many channels.</param>
    /// <param name="ranges">The rows of all leaves, as in the forward pass.</param>
    /// <param name="leafStarts">(leaves + 1): as in the forward pass.</param>
    /// <param name="scale">(channels): γ.</param>
    /// <param name="means">(leaves, channels): from the forward pass.</param>
    /// <param name="reciprocals">(leaves, channels): from the forward pass.</param>
    /// <param name="dx">(rows, channels): receives the rows of all ranges; may be dy or x.</param>
    /// <param name="dScale">(channels): receives dγ.</param>
    /// <param name="dShift">(channels): receives dβ.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges.</exception>
    public static void Backward(
        float* dy,
        float* x,
        nint channels,
        ReadOnlySpan<KRange> ranges,
        ReadOnlySpan<int> leafStarts,
        float* scale,
        float* means,
        float* reciprocals,
        float* dx,
        float* dScale,
        float* dShift,
        KernelPool? pool = null)
    {
        nint rows = Check(x, channels, ranges, leafStarts, scale, means, reciprocals);
        Guard.NotNull(dy, rows, nameof(dy));
        Guard.NotNull(dx, rows, nameof(dx));
        Guard.NotNull(dScale, channels, nameof(dScale));
        Guard.NotNull(dShift, channels, nameof(dShift));
        nint size = rows * channels;
        Guard.SameOrApart(dx, x, size);
        Guard.SameOrApart(dx, dy, size);
        int leaves = leafStarts.Length - 1;
        nint kept = leaves * channels;
        Guard.Apart([new(dx, size)], [new(scale, channels), new(means, kept), new(reciprocals, kept)]);
        Guard.Apart(
            [new(dScale, channels), new(dShift, channels)],
            [new(dy, size), new(x, size), new(dx, size), new(scale, channels), new(means, kept), new(reciprocals, kept)]);
        fixed (KRange* r = ranges)
        fixed (int* l = leafStarts)
        {
            // Of each leaf: B, G, a, b.
            float* sums = Workspace.Get(((leaves * 4) + 2) * channels);
            var kernel = new BatchNormBackwardKernel
            {
                DY = dy,
                X = x,
                Channels = channels,
                Ranges = r,
                LeafStarts = l,
                Scale = scale,
                Means = means,
                Reciprocals = reciprocals,
                DX = dx,
                LeafSums = sums,
                Factors = sums + (leaves * 2 * channels),
                Parts = Parts(leaves, channels, rows, pool),
            };
            RangeRunner.Run(kernel, leaves * kernel.Parts, 1, 1, rows * channels < Traversal.Grain ? null : pool);
            float* joined = sums + (leaves * 4 * channels);
            LeafSum(sums, 2 * channels, leaves, joined);
            Elementwise.Copy(joined, dShift, channels);
            Elementwise.Copy(joined + channels, dScale, channels);
        }
    }

    /// <summary>y = fma((x - mean)·r, γ, β) with r = 1 / √(variance + ε), for evaluation.</summary>
    /// <param name="x">(rows, channels), row-major.</param>
    /// <param name="rows">How many rows.</param>
    /// <param name="channels">How many channels, at least 1.</param>
    /// <param name="scale">(channels): γ.</param>
    /// <param name="shift">(channels): β.</param>
    /// <param name="epsilon">ε, at least 0.</param>
    /// <param name="mean">(channels): the running mean.</param>
    /// <param name="variance">(channels): the running variance.</param>
    /// <param name="y">(rows, channels); may be x.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Evaluate(
        float* x, nint rows, nint channels, float* scale, float* shift, float epsilon, float* mean, float* variance, float* y, KernelPool? pool = null)
    {
        Guard.Length(rows, nameof(rows));
        Guard.Stride(channels, 1, nameof(channels));
        Guard.NotNull(x, rows, nameof(x));
        Guard.NotNull(y, rows, nameof(y));
        Guard.NotNull(scale, channels, nameof(scale));
        Guard.NotNull(shift, channels, nameof(shift));
        Guard.NotNull(mean, channels, nameof(mean));
        Guard.NotNull(variance, channels, nameof(variance));
        ArgumentOutOfRangeException.ThrowIfNegative(epsilon);
        Guard.SameOrApart(y, x, rows * channels);
        Guard.Apart([new(y, rows * channels)], [new(scale, channels), new(shift, channels), new(mean, channels), new(variance, channels)]);
        var kernel = new BatchNormEvaluateKernel
        {
            X = x,
            Channels = channels,
            Scale = scale,
            Shift = shift,
            Epsilon = epsilon,
            Mean = mean,
            Variance = variance,
            Y = y,
            Reciprocals = Workspace.Get(channels),
        };
        RangeRunner.Run(kernel, channels, 16, nint.MaxValue, pool: null);
        kernel.Rows = true;
        RangeRunner.Run(kernel, rows, 1, 1 + (Traversal.Grain / channels), pool);
    }

    /// <summary>Joins vectors of leaves along the tree, where they are; gives the sum to <paramref name="sum"/>.</summary>
    internal static void LeafSum(float* vectors, nint length, int leaves, float* sum)
    {
        // Pending subtrees wait where their first leaf was.
        int* stack = stackalloc int[LeafTree.StackDepth + 1];
        int pending = 0;
        for (int leaf = 0; leaf < leaves; leaf++)
        {
            stack[pending++] = leaf;
            for (int joins = LeafTree.Joins(leaf, leaf == leaves - 1, pending - 1); joins > 0; joins--)
            {
                pending--;
                float* left = vectors + (stack[pending - 1] * length);
                Elementwise.Add(left, vectors + (stack[pending] * length), left, length);
            }
        }
        Elementwise.Copy(vectors, sum, length);
    }

    private static float Weight(KRange* ranges, int* leafStarts, int leaves)
    {
        long sum = 0;
        for (int leaf = 0; leaf < leaves; leaf++)
        {
            nint count = Count(ranges, leafStarts, leaf);
            if (count >= 2) sum += count;
        }
        return sum;
    }

    /// <summary>The rows of a leaf.</summary>
    internal static nint Count(KRange* ranges, int* leafStarts, nint leaf)
    {
        nint count = 0;
        for (int r = leafStarts[leaf]; r < leafStarts[leaf + 1]; r++) count += ranges[r].Count;
        return count;
    }

    /// <summary>Into how many parts the channels of a leaf are cut, so that all threads have some.</summary>
    private static nint Parts(int leaves, nint channels, nint rows, KernelPool? pool)
    {
        if (pool is null || rows * channels < Traversal.Grain) return 1;
        return Math.Clamp((pool.Threads + leaves - 1) / leaves, 1, (channels + 15) / 16);
    }

    private static nint Check(
        float* x, nint channels, ReadOnlySpan<KRange> ranges, ReadOnlySpan<int> leafStarts, float* scale, float* means, float* reciprocals)
    {
        Guard.Stride(channels, 1, nameof(channels));
        nint rows = SegmentedGemm.CheckLeaves(ranges, leafStarts);
        Guard.NotNull(x, rows, nameof(x));
        Guard.NotNull(scale, channels, nameof(scale));
        Guard.NotNull(means, channels, nameof(means));
        Guard.NotNull(reciprocals, channels, nameof(reciprocals));
        return rows;
    }
}
