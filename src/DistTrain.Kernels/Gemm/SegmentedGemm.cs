namespace DistTrain.Kernels;

/// <summary>A run of consecutive rows of k: those that one shard has at one time step, or all that it has.</summary>
/// <param name="Start">The first row.</param>
/// <param name="Count">How many; may be 0.</param>
public readonly record struct KRange(int Start, int Count);

/// <summary>
/// Sums over the rows of a batch, leaf by leaf (a leaf is a shard) and along the shard tree: a range of leaves
/// [lo, hi) splits at lo + the largest power of two below its length. Within a leaf an element is one chain from +0
/// over the leaf's ranges in the order given, rows ascending. An empty leaf is +0 and is added like any other.
/// So a worker's sum over leaves [lo, hi) of the mini-batch, where [lo, hi) is a node of the shard tree, is that node.
/// </summary>
public static unsafe class SegmentedGemm
{
    /// <summary>The most leaves that one call takes.</summary>
    public const int MaxLeaves = 16_384;

    /// <summary>dW = dYᵀ·X, the tree applied to each register tile while it is in the L1 cache.</summary>
    /// <param name="dY">(rows, outputs), rows of <paramref name="strideDY"/> floats.</param>
    /// <param name="strideDY">Floats from one row of dY to the next.</param>
    /// <param name="x">(rows, inputs), rows of <paramref name="strideX"/> floats.</param>
    /// <param name="strideX">Floats from one row of X to the next.</param>
    /// <param name="outputs">Rows of dW.</param>
    /// <param name="inputs">Columns of dW.</param>
    /// <param name="ranges">The row ranges of all leaves, leaf after leaf.</param>
    /// <param name="leafStarts">
    /// (leaves + 1): leaf i has ranges [leafStarts[i], leafStarts[i + 1]); at least one leaf.
    /// </param>
    /// <param name="dW">(outputs, inputs), rows of <paramref name="strideDW"/> floats: overwritten.</param>
    /// <param name="strideDW">Floats from one row of dW to the next.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <param name="db">(outputs): receives what <see cref="ColumnSum"/> gives, from dY on its way to the tiles; null for none.</param>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges.</exception>
    public static void WeightGradient(
        float* dY,
        nint strideDY,
        float* x,
        nint strideX,
        nint outputs,
        nint inputs,
        ReadOnlySpan<KRange> ranges,
        ReadOnlySpan<int> leafStarts,
        float* dW,
        nint strideDW,
        KernelPool? pool = null,
        float* db = null)
    {
        Guard.Length(outputs, nameof(outputs));
        Guard.Length(inputs, nameof(inputs));
        nint rows = CheckLeaves(ranges, leafStarts);
        if (outputs == 0) return;
        if (inputs == 0)
        {
            if (db != null) ColumnSum(dY, strideDY, outputs, ranges, leafStarts, db, pool);
            return;
        }
        Guard.Stride(strideDY, outputs, nameof(strideDY));
        Guard.Stride(strideX, inputs, nameof(strideX));
        Guard.Stride(strideDW, inputs, nameof(strideDW));
        Guard.NotNull(dY, rows, nameof(dY));
        Guard.NotNull(x, rows, nameof(x));
        Guard.NotNull(dW, outputs, nameof(dW));
        Guard.Apart(dW, Guard.Extent(outputs, strideDW, inputs), dY, Guard.Extent(rows, strideDY, outputs));
        Guard.Apart(dW, Guard.Extent(outputs, strideDW, inputs), x, Guard.Extent(rows, strideX, inputs));
        if (db != null)
        {
            Guard.Apart(db, outputs, dY, Guard.Extent(rows, strideDY, outputs));
            Guard.Apart(db, outputs, x, Guard.Extent(rows, strideX, inputs));
            Guard.Apart(db, outputs, dW, Guard.Extent(outputs, strideDW, inputs));
        }
        fixed (KRange* r = ranges)
        fixed (int* l = leafStarts)
        {
            SegmentedDriver.Run(
                new SegmentedProblem
                {
                    DY = dY,
                    StrideDY = strideDY,
                    X = x,
                    StrideX = strideX,
                    Outputs = outputs,
                    Inputs = inputs,
                    Ranges = r,
                    LeafStarts = l,
                    Leaves = leafStarts.Length - 1,
                    DW = dW,
                    StrideDW = strideDW,
                    DB = db,
                },
                pool);
        }
    }

    /// <summary>
    /// <see cref="WeightGradient"/> where every node of the tree is rounded to a 16-bit format: a leaf is Q(sum), a node Q(left + right),
    /// as <see cref="RoundedJoin"/> makes them of leaves' gradients that were computed apart; and that is what dW holds. False where
    /// leaves are so deep that computing them apart is the better way, and nothing was done.
    /// </summary>
    /// <param name="dY">As in <see cref="WeightGradient"/>, like all that is not said here.</param>
    /// <param name="strideDY">Floats from one row of dY to the next.</param>
    /// <param name="x">(rows, inputs).</param>
    /// <param name="strideX">Floats from one row of X to the next.</param>
    /// <param name="outputs">Rows of dW.</param>
    /// <param name="inputs">Columns of dW.</param>
    /// <param name="ranges">The row ranges of all leaves.</param>
    /// <param name="leafStarts">(leaves + 1).</param>
    /// <param name="format">The format of nodes and of dW, of 16 bits.</param>
    /// <param name="dW">(outputs, inputs), rows of <paramref name="strideDW"/> values: overwritten.</param>
    /// <param name="strideDW">Values from one row of dW to the next.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The format has not 16 bits.</exception>
    public static bool TryRoundedWeightGradient(
        float* dY,
        nint strideDY,
        float* x,
        nint strideX,
        nint outputs,
        nint inputs,
        ReadOnlySpan<KRange> ranges,
        ReadOnlySpan<int> leafStarts,
        FloatFormat format,
        void* dW,
        nint strideDW,
        KernelPool? pool = null)
    {
        if (format.Size() != 2) throw new ArgumentOutOfRangeException(nameof(format), format, "Nodes are rounded to a format of 16 bits.");
        Guard.Length(outputs, nameof(outputs));
        Guard.Length(inputs, nameof(inputs));
        nint rows = CheckLeaves(ranges, leafStarts);
        if (outputs == 0 || inputs == 0) return true;
        Guard.Stride(strideDY, outputs, nameof(strideDY));
        Guard.Stride(strideX, inputs, nameof(strideX));
        Guard.Stride(strideDW, inputs, nameof(strideDW));
        Guard.NotNull(dY, rows, nameof(dY));
        Guard.NotNull(x, rows, nameof(x));
        Guard.NotNull(dW, outputs, nameof(dW));
        nint bytes = Guard.Extent(outputs, strideDW, inputs) * format.Size();
        Guard.BytesApart(dW, bytes, dY, Guard.Extent(rows, strideDY, outputs) * sizeof(float));
        Guard.BytesApart(dW, bytes, x, Guard.Extent(rows, strideX, inputs) * sizeof(float));
        fixed (KRange* r = ranges)
        fixed (int* l = leafStarts)
        {
            return SegmentedDriver.Run(
                new SegmentedProblem
                {
                    DY = dY,
                    StrideDY = strideDY,
                    X = x,
                    StrideX = strideX,
                    Outputs = outputs,
                    Inputs = inputs,
                    Ranges = r,
                    LeafStarts = l,
                    Leaves = leafStarts.Length - 1,
                    RoundedDW = dW,
                    Format = format,
                    StrideDW = strideDW,
                },
                pool);
        }
    }

    /// <summary>
    /// db = the column sums of dY over the same leaves and tree, by plain additions. Parameters as in
    /// <see cref="WeightGradient"/>; <paramref name="db"/> is (outputs).
    /// </summary>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges.</exception>
    public static void ColumnSum(
        float* dY,
        nint strideDY,
        nint outputs,
        ReadOnlySpan<KRange> ranges,
        ReadOnlySpan<int> leafStarts,
        float* db,
        KernelPool? pool = null)
    {
        Guard.Length(outputs, nameof(outputs));
        nint rows = CheckLeaves(ranges, leafStarts);
        if (outputs == 0) return;
        Guard.Stride(strideDY, outputs, nameof(strideDY));
        Guard.NotNull(dY, rows, nameof(dY));
        Guard.NotNull(db, outputs, nameof(db));
        Guard.Apart(db, outputs, dY, Guard.Extent(rows, strideDY, outputs));
        fixed (KRange* r = ranges)
        fixed (int* l = leafStarts)
        {
            var problem = new SegmentedProblem
            {
                DY = dY,
                StrideDY = strideDY,
                Outputs = outputs,
                Ranges = r,
                LeafStarts = l,
                Leaves = leafStarts.Length - 1,
                DB = db,
                Depth = rows,
            };
            SumColumns(in problem, pool);
        }
    }

    /// <summary>The column sums of a problem alone.</summary>
    internal static void SumColumns(in SegmentedProblem problem, KernelPool? pool)
    {
        var kernel = new ColumnSumKernel
        {
            DY = problem.DY,
            StrideDY = problem.StrideDY,
            Ranges = problem.Ranges,
            RangeUnit = 1,
            LeafStarts = problem.LeafStarts,
            Leaves = problem.Leaves,
            Sums = problem.DB,
        };
        RangeRunner.Run(kernel, problem.Outputs, 16, 1 + (Traversal.Grain / Math.Max(problem.Depth, 1)), pool);
    }

    /// <summary>Gives the number of rows that the ranges reach.</summary>
    internal static nint CheckLeaves(ReadOnlySpan<KRange> ranges, ReadOnlySpan<int> leafStarts)
    {
        if (leafStarts.Length < 2) Guard.ThrowSegments("There must be at least one leaf.", nameof(leafStarts));
        if (leafStarts.Length - 1 > MaxLeaves) Guard.ThrowSegments($"There are more than {MaxLeaves} leaves.", nameof(leafStarts));
        if (leafStarts[0] != 0 || leafStarts[^1] != ranges.Length)
            Guard.ThrowSegments($"The leaves cover ranges {leafStarts[0]} to {leafStarts[^1]} of {ranges.Length}.", nameof(leafStarts));
        for (int i = 1; i < leafStarts.Length; i++)
        {
            if (leafStarts[i] < leafStarts[i - 1]) Guard.ThrowSegments($"Leaf {i - 1} ends before it begins.", nameof(leafStarts));
        }
        nint rows = 0;
        foreach (KRange range in ranges)
        {
            if (range.Start < 0 || range.Count < 0) Guard.ThrowSegments($"{range} is no range of rows.", nameof(ranges));
            if (range.Count > 0) rows = Math.Max(rows, (nint)range.Start + range.Count);
        }
        return rows;
    }
}
