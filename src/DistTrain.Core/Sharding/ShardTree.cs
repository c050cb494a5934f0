using System.Numerics;

namespace DistTrain.Core.Sharding;

/// <summary>A half-open range [Lo, Hi) of shard indices.</summary>
public readonly record struct ShardRange(int Lo, int Hi)
{
    /// <summary>Number of shards.</summary>
    public int Length => Hi - Lo;

    /// <inheritdoc/>
    public override string ToString() => $"[{Lo},{Hi})";
}

/// <summary>
/// The fixed binary tree over shard indices along which segments join (DESIGN, I1): a node [lo, hi) of more than one
/// shard splits at lo + the largest power of two below its length. Nodes are numbered in pre-order, the root is 0.
/// </summary>
public sealed class ShardTree
{
    private readonly ShardRange[] _ranges;
    private readonly int[] _left;
    private readonly int[] _right;
    private readonly int[] _parent;
    private readonly Dictionary<ShardRange, int> _index;

    /// <summary>Builds the tree over <paramref name="shards"/> leaves (at least 1).</summary>
    public ShardTree(int shards)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(shards, 1);
        Shards = shards;
        int nodes = 2 * shards - 1;
        _ranges = new ShardRange[nodes];
        _left = new int[nodes];
        _right = new int[nodes];
        _parent = new int[nodes];
        _index = new(nodes);
        int next = 0;
        Build(new ShardRange(0, shards), -1, ref next);
    }

    /// <summary>Number of leaves.</summary>
    public int Shards { get; }

    /// <summary>Number of nodes: 2·S − 1.</summary>
    public int NodeCount => _ranges.Length;

    /// <summary>Where a node of more than one shard splits.</summary>
    public static int SplitPoint(ShardRange node) =>
        node.Lo + (1 << BitOperations.Log2((uint)(node.Length - 1)));

    /// <summary>The shards of a node.</summary>
    public ShardRange Range(int node) => _ranges[node];

    /// <summary>The left child of a node, or -1 for a leaf.</summary>
    public int Left(int node) => _left[node];

    /// <summary>The right child of a node, or -1 for a leaf.</summary>
    public int Right(int node) => _right[node];

    /// <summary>The parent of a node, or -1 for the root.</summary>
    public int Parent(int node) => _parent[node];

    /// <summary>The node of exactly this range, or -1 when the tree has none.</summary>
    public int Find(ShardRange range) => _index.GetValueOrDefault(range, -1);

    /// <summary>
    /// The highest nodes that lie within a set of shards, ascending: what a worker that computed those shards sends.
    /// </summary>
    public IReadOnlyList<ShardRange> TopNodes(IEnumerable<int> shards)
    {
        var owned = new bool[Shards];
        foreach (int s in shards) owned[s] = true;
        var top = new List<ShardRange>();
        Collect(0, owned, top);
        return top;
    }

    private void Collect(int node, bool[] owned, List<ShardRange> top)
    {
        ShardRange range = _ranges[node];
        if (owned.AsSpan(range.Lo, range.Length).IndexOf(false) < 0) top.Add(range);
        else if (range.Length > 1)
        {
            Collect(_left[node], owned, top);
            Collect(_right[node], owned, top);
        }
    }

    private int Build(ShardRange range, int parent, ref int next)
    {
        int node = next++;
        _ranges[node] = range;
        _parent[node] = parent;
        _index[range] = node;
        if (range.Length == 1)
        {
            _left[node] = _right[node] = -1;
            return node;
        }

        int split = SplitPoint(range);
        _left[node] = Build(range with { Hi = split }, node, ref next);
        _right[node] = Build(range with { Lo = split }, node, ref next);
        return node;
    }
}
