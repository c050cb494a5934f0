using DistTrain.Core.Sharding;
using DistTrain.Nn;

namespace DistTrain.Training.Worker;

/// <summary>
/// Which rows of the worker's batch belong to which of its shards, for one mini-batch size: its shards stand one after
/// the other, ascending. Planned once and used for every step of that size.
/// </summary>
internal sealed class ShardRows
{
    /// <param name="tree">The shard tree.</param>
    /// <param name="shards">The worker's.</param>
    /// <param name="batchSize">Examples of the mini-batch.</param>
    /// <param name="halves">The whole tree goes as its two halves, which the server joins.</param>
    /// <param name="apart">Each shard is computed apart, and then joined: for formats that round at every node.</param>
    public ShardRows(ShardTree tree, IReadOnlyList<int> shards, int batchSize, bool halves = false, bool apart = false)
    {
        Shards = shards;
        Sent = tree.TopNodes(shards);
        if (halves && Sent is [var whole] && whole.Length == tree.Shards && whole.Length > 1)
        {
            int split = ShardTree.SplitPoint(whole);
            Sent = [whole with { Hi = split }, whole with { Lo = split }];
        }

        Nodes = apart ? [.. shards.Select(s => new ShardRange(s, s + 1))] : Sent;

        Plan = new GradientPlan(shards.Count) { LeafCount = shards.Count, NodeCount = Nodes.Count };
        for (int leaf = 0; leaf < shards.Count; leaf++)
        {
            (long start, long end) = ShardSlice.Of(batchSize, tree.Shards, shards[leaf]);
            Plan.LeafPositions[leaf] = (int)start;
            Plan.LeafRows[leaf + 1] = Plan.LeafRows[leaf] + (int)(end - start);
        }

        for (int node = 0; node < Nodes.Count; node++) Plan.NodeLeaves[node + 1] = Plan.NodeLeaves[node] + Nodes[node].Length;
        for (int sum = 0; sum < Sent.Count; sum++) Plan.SumLeaves[sum + 1] = Plan.SumLeaves[sum] + Sent[sum].Length;
        Plan.SumCount = Sent.Count;
        Rows = Plan.LeafRows[shards.Count];
    }

    /// <summary>
    /// Shards in groups of at most so many rows, ascending: each is computed, and its nodes pushed, by itself. A shard that
    /// has more rows is a group, too.
    /// </summary>
    public static List<ShardRows> Groups(ShardTree tree, IReadOnlyList<int> shards, int batchSize, int mostRows, bool halves = false, bool apart = false)
    {
        var groups = new List<ShardRows>();
        var group = new List<int>();
        long rows = 0;
        foreach (int shard in shards)
        {
            (long start, long end) = ShardSlice.Of(batchSize, tree.Shards, shard);
            if (group.Count > 0 && rows + end - start > mostRows)
            {
                groups.Add(new ShardRows(tree, [.. group], batchSize, halves, apart));
                group.Clear();
                rows = 0;
            }

            group.Add(shard);
            rows += end - start;
        }

        if (group.Count > 0) groups.Add(new ShardRows(tree, [.. group], batchSize, halves, apart));
        if (groups.Count > 1) groups.ForEach(g => g.IsWhole = false);
        return groups;
    }

    /// <summary>Each shard as a group of its own.</summary>
    public static List<ShardRows> OneByOne(ShardTree tree, IReadOnlyList<int> shards, int batchSize, bool apart) =>
        [.. shards.Select(s => new ShardRows(tree, [s], batchSize, halves: false, apart) { IsWhole = false })];

    /// <summary>Some shards each as a group of its own, and behind them the others as <see cref="Groups"/>.</summary>
    public static List<ShardRows> Apart(ShardTree tree, IReadOnlyCollection<int> some, IReadOnlyList<int> shards, int batchSize, int mostRows, bool halves, bool apart) =>
        [.. OneByOne(tree, [.. shards.Where(some.Contains)], batchSize, apart), .. Extra(tree, [.. shards.Where(s => !some.Contains(s))], batchSize, mostRows, halves, apart)];

    /// <summary>As <see cref="Groups"/>, but of shards that are computed beside the worker's own: the next step's rows are others.</summary>
    public static List<ShardRows> Extra(ShardTree tree, IReadOnlyList<int> shards, int batchSize, int mostRows, bool halves, bool apart)
    {
        List<ShardRows> groups = Groups(tree, shards, batchSize, mostRows, halves, apart);
        groups.ForEach(g => g.IsWhole = false);
        return groups;
    }

    /// <summary>Whether these are all rows that the worker computes of a step.</summary>
    public bool IsWhole { get; private set; } = true;

    public IReadOnlyList<int> Shards { get; }

    /// <summary>The tree nodes that are computed, ascending.</summary>
    public IReadOnlyList<ShardRange> Nodes { get; }

    /// <summary>The tree nodes that are sent, ascending: the same, or what they join to.</summary>
    public IReadOnlyList<ShardRange> Sent { get; }

    public GradientPlan Plan { get; }

    public int Rows { get; }
}
