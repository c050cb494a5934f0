using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// Which rows of a run form which shard, and which nodes of the shard tree are wanted. Leaves are the worker's shards,
/// ascending, their rows contiguous; a leaf may be empty. A node joins consecutive leaves along the tree of its length
/// (<see cref="ShardTree.SplitPoint"/>), which is the global tree because every node is one of its nodes. Made once and
/// refilled for every step, so that steps allocate nothing.
/// </summary>
public sealed class GradientPlan
{
    // As the kernels want them: every leaf is one range of rows.
    private readonly KRange[] _ranges;
    private readonly int[] _leafStarts;
    private readonly KRange[] _scaled;

    /// <summary>Creates a plan with room for <paramref name="maxLeaves"/> leaves and as many nodes.</summary>
    public GradientPlan(int maxLeaves)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(maxLeaves);
        LeafRows = new int[maxLeaves + 1];
        NodeLeaves = new int[maxLeaves + 1];
        LeafPositions = new int[maxLeaves];
        Gradients = new nint[maxLeaves];
        SumLeaves = new int[maxLeaves + 1];
        Sums = new nint[maxLeaves];
        _ranges = new KRange[maxLeaves];
        _scaled = new KRange[maxLeaves];
        _leafStarts = [.. Enumerable.Range(0, maxLeaves + 1)];
    }

    /// <summary>How many leaves are in use.</summary>
    public int LeafCount { get; set; }

    /// <summary>Leaf i has the rows [LeafRows[i], LeafRows[i+1]): LeafCount + 1 row starts, the first 0.</summary>
    public int[] LeafRows { get; }

    /// <summary>
    /// Where in the mini-batch leaf i's first row stands; the others follow. What random numbers depend on, so that they
    /// are the same whoever computes the shard.
    /// </summary>
    public int[] LeafPositions { get; }

    /// <summary>How many nodes are in use.</summary>
    public int NodeCount { get; set; }

    /// <summary>Node j joins the leaves [NodeLeaves[j], NodeLeaves[j+1]): NodeCount + 1 leaf starts, the first 0.</summary>
    public int[] NodeLeaves { get; }

    /// <summary>
    /// Node j's gradient sums: the address of <c>Layout.Length</c> floats with the weights' offsets, 64-byte aligned,
    /// owned by the caller. Backward writes every element, padding as 0.
    /// </summary>
    public nint[] Gradients { get; }

    /// <summary>
    /// What every node of the shard tree is rounded to, where layers may join leaves themselves as they compute them: then each node
    /// of the plan is a leaf, and a layer gives either the leaves' gradients or the packed sums'. Float32 for no such thing.
    /// </summary>
    public FloatFormat Rounding { get; set; }

    /// <summary>How many sums are wanted, under <see cref="Rounding"/>.</summary>
    public int SumCount { get; set; }

    /// <summary>Sum j joins the leaves [SumLeaves[j], SumLeaves[j+1]): SumCount + 1 leaf starts, the first 0.</summary>
    public int[] SumLeaves { get; }

    /// <summary>
    /// Sum j packed: the address of <c>Layout.Length</c> values in <see cref="Rounding"/>'s format with the weights' offsets, owned by
    /// the caller. Backward writes those elements that it announces with <see cref="IGradientListener.ReadyPacked"/>.
    /// </summary>
    public nint[] Sums { get; }

    /// <summary>The row ranges of node <paramref name="node"/>'s leaves; after <see cref="Check"/>.</summary>
    internal ReadOnlySpan<KRange> RangesOf(int node) =>
        _ranges.AsSpan(NodeLeaves[node], NodeLeaves[node + 1] - NodeLeaves[node]);

    /// <summary>The same for an array with a number of rows for each of the run's: (rows, positions). Good until the next call.</summary>
    internal ReadOnlySpan<KRange> RangesOf(int node, int positions) => Scaled(NodeLeaves[node], NodeLeaves[node + 1], positions);

    /// <summary>Of a sum's leaves what <see cref="RangesOf(int, int)"/> is of a node's. Good until the next call of either.</summary>
    internal ReadOnlySpan<KRange> RangesOfSum(int sum, int positions) => Scaled(SumLeaves[sum], SumLeaves[sum + 1], positions);

    /// <summary>Which of them each leaf of the sum has: one each.</summary>
    internal ReadOnlySpan<int> LeafStartsOfSum(int sum) => _leafStarts.AsSpan(0, SumLeaves[sum + 1] - SumLeaves[sum] + 1);

    private ReadOnlySpan<KRange> Scaled(int first, int end, int positions)
    {
        int count = end - first;
        for (int i = 0; i < count; i++) _scaled[i] = new KRange(checked(_ranges[first + i].Start * positions), checked(_ranges[first + i].Count * positions));
        return _scaled.AsSpan(0, count);
    }

    /// <summary>Which of <see cref="RangesOf(int)"/> each leaf of the node has: one each.</summary>
    internal ReadOnlySpan<int> LeafStartsOf(int node) =>
        _leafStarts.AsSpan(0, NodeLeaves[node + 1] - NodeLeaves[node] + 1);

    /// <summary>The row ranges of all leaves; after <see cref="Check"/>.</summary>
    internal ReadOnlySpan<KRange> Ranges => _ranges.AsSpan(0, LeafCount);

    /// <summary>Which of <see cref="Ranges"/> each leaf has: one each.</summary>
    internal ReadOnlySpan<int> LeafStarts => _leafStarts.AsSpan(0, LeafCount + 1);

    /// <summary>Refuses a plan that does not cover <paramref name="rows"/> rows and all leaves, each once.</summary>
    /// <exception cref="InvalidOperationException">What is wrong with the plan.</exception>
    internal void Check(int rows)
    {
        CheckStarts(LeafRows, LeafCount, rows, "row");
        CheckStarts(NodeLeaves, NodeCount, LeafCount, "leaf");
        if (Rounding != FloatFormat.Float32)
        {
            CheckStarts(SumLeaves, SumCount, LeafCount, "leaf");
            if (NodeCount != LeafCount) throw new InvalidOperationException("Under rounding, each node of the gradient plan is a leaf.");
        }

        for (int j = 0; j < NodeCount; j++)
        {
            if (NodeLeaves[j] == NodeLeaves[j + 1]) throw new InvalidOperationException($"Node {j} of the gradient plan has no leaves.");
        }

        for (int i = 0; i < LeafCount; i++) _ranges[i] = new KRange(LeafRows[i], LeafRows[i + 1] - LeafRows[i]);
    }

    private static void CheckStarts(int[] starts, int count, int end, string what)
    {
        if (count < 0 || count >= starts.Length || starts[0] != 0 || starts[count] != end) Refuse(what, end);
        for (int i = 0; i < count; i++)
        {
            if (starts[i] > starts[i + 1]) Refuse(what, end);
        }
    }

    private static void Refuse(string what, int end) =>
        throw new InvalidOperationException($"The {what} starts of the gradient plan do not ascend from 0 to {end}.");
}
