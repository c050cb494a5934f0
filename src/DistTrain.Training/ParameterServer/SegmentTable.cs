using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Training.ParameterServer;

/// <summary>What became of a segment.</summary>
internal enum Placement
{
    /// <summary>Its node was full, or lies below a full one: dropped and released.</summary>
    Dropped,

    /// <summary>It is in its slot, or joined with its neighbours.</summary>
    Kept,

    /// <summary>It completed the root.</summary>
    Complete,
}

/// <summary>
/// The slots of one bucket for one step: one for each node of the shard tree (DESIGN, I2). A node is full when it
/// arrived or both its children are full; what arrives for a full node or below one is dropped. Recomputed segments
/// have the same bits, so first come is as good as any. Children join as soon as both are there: left + right.
/// </summary>
/// <param name="tree">The shard tree.</param>
/// <param name="pool">Where sums lie.</param>
/// <param name="wire">How sums are rounded; null for not at all.</param>
/// <param name="bucket">The bucket; null where nothing is rounded.</param>
/// <param name="packed">Segments are placed as they travelled, and stay so until the root is asked for; null where they were unpacked.</param>
internal sealed unsafe class SegmentTable(ShardTree tree, SegmentPool pool, WireFormat? wire = null, Bucket? bucket = null, ValueFormat? packed = null)
{
    private readonly bool[] _full = new bool[tree.NodeCount];
    private readonly ISegmentBuffer?[] _buffers = new ISegmentBuffer?[tree.NodeCount];
    private readonly SegmentStats[] _stats = new SegmentStats[tree.NodeCount];
    private bool _opened;

    /// <summary>Sees the root's two children before they join; null for nobody.</summary>
    public Action<ISegmentBuffer, SegmentStats, ISegmentBuffer, SegmentStats>? Halves { get; init; }

    /// <summary>True when the root is full.</summary>
    public bool Complete => _full[0];

    /// <summary>Segments that wait here, or what they were joined to.</summary>
    public int Held { get; private set; }

    /// <summary>The root's statistics.</summary>
    public SegmentStats Stats => _stats[0];

    /// <summary>The root's gradient sum, joined now if it wasn't; null for evaluations, which have no payload.</summary>
    public ISegmentBuffer? Root
    {
        get
        {
            if (!Complete) return _buffers[0];
            if (packed is not null && !_opened) Open(packed);
            else if (Pending) Fill(0, _stats[0], JoinBuffers(Take(tree.Left(0)), Take(tree.Right(0)), default));
            return _buffers[0];
        }
    }

    /// <summary>
    /// The root's two children where they wait to be joined, so that whoever reads the sum can add them on the way: what a
    /// format that rounds can't leave to others is always joined here. Where segments stay packed, the children are.
    /// </summary>
    public (NativeSpan Left, NativeSpan Right)? Halfway => Complete && Pending ? (_buffers[tree.Left(0)]!.Elements, _buffers[tree.Right(0)]!.Elements) : null;

    /// <summary>The shards that no full node covers, ascending.</summary>
    public IEnumerable<int> Missing
    {
        get
        {
            for (int node = 0; node < tree.NodeCount; node++)
            {
                if (tree.Left(node) < 0 && !IsCovered(node)) yield return tree.Range(node).Lo;
            }
        }
    }

    private bool Pending => tree.Left(0) >= 0 && _buffers[tree.Left(0)] is not null && _buffers[tree.Right(0)] is not null;

    /// <summary>Places a segment, whose buffer now belongs to the table.</summary>
    /// <param name="node">Its node of the tree.</param>
    /// <param name="stats">Its sums.</param>
    /// <param name="buffer">Its gradient; null for evaluations.</param>
    /// <param name="step">The training step: sums are rounded by it.</param>
    public Placement Place(int node, SegmentStats stats, ISegmentBuffer? buffer, long step = 0)
    {
        if (IsCovered(node))
        {
            buffer?.Release();
            return Placement.Dropped;
        }

        ReleaseBelow(node);
        Fill(node, stats, buffer);
        for (int parent = tree.Parent(node); parent >= 0; parent = tree.Parent(parent))
        {
            int left = tree.Left(parent), right = tree.Right(parent);
            if (!_full[left] || !_full[right]) break;
            if (parent == 0 && _buffers[left] is { } a && _buffers[right] is { } b) Halves?.Invoke(a, _stats[left], b, _stats[right]);
            bool waits = parent == 0 && (packed is not null || wire is null or { IsExact: true }) && _buffers[left] is not null;
            Fill(parent, SegmentStats.Join(_stats[left], _stats[right]), waits ? null : JoinBuffers(Take(left), Take(right), new WireNode(step, tree.Range(parent))));
        }

        return Complete ? Placement.Complete : Placement.Kept;
    }

    /// <summary>The root's gradient sum, which is the caller's from now on: memory of this process's own, which is not lent.</summary>
    public ISegmentBuffer TakeRoot()
    {
        ISegmentBuffer root = Root!;
        Take(0);
        if (root.Writable) return root;
        ISegmentBuffer own = pool.Rent(root.Elements.Length);
        root.Elements.Span.CopyTo(own.Elements.Span);
        root.Release();
        return own;
    }

    /// <summary>Empties all slots for the next step.</summary>
    public void Reset()
    {
        for (int node = 0; node < _full.Length; node++) Take(node)?.Release();
        Array.Clear(_full);
        _opened = false;
    }

    private bool IsCovered(int node)
    {
        for (int above = node; above >= 0; above = tree.Parent(above))
        {
            if (_full[above]) return true;
        }

        return false;
    }

    private ISegmentBuffer? JoinBuffers(ISegmentBuffer? left, ISegmentBuffer? right, in WireNode node)
    {
        if (left is null || right is null) return null;
        int length = left.Elements.Length;
        ISegmentBuffer sum = left.Writable ? left : right.Writable ? right : pool.Rent(length);
        if (packed is not null)
        {
            packed.Join(left.Elements, right.Elements, sum.Elements, packed.Format, bucket!.Length);
        }
        else
        {
            Elementwise.Add((float*)left.Elements.Address, (float*)right.Elements.Address, (float*)sum.Elements.Address, length, KernelPool.Single);
            if (bucket is not null && wire is { RoundsNodes: true }) wire.Round((float*)sum.Elements.Address, node, bucket);
        }

        if (sum != left) left.Release();
        if (sum != right) right.Release();
        return sum;
    }

    // The root in fp32, from its packed children or from what came packed for all shards.
    private void Open(ValueFormat format)
    {
        _opened = true;
        (ISegmentBuffer? first, ISegmentBuffer? second) = Pending ? (Take(tree.Left(0)), Take(tree.Right(0))) : (Take(0), null);
        if (first is null) return;
        ISegmentBuffer root = pool.Rent(bucket!.Length);
        if (second is not null) format.Join(first.Elements, second.Elements, root.Elements, FloatFormat.Float32, bucket.Length);
        else format.Unpack(first.Elements, (float*)root.Elements.Address, bucket.Length);
        first.Release();
        second?.Release();
        Fill(0, _stats[0], root);
    }

    private void ReleaseBelow(int node)
    {
        if (tree.Left(node) < 0) return;
        foreach (int child in (ReadOnlySpan<int>)[tree.Left(node), tree.Right(node)])
        {
            Take(child)?.Release();
            ReleaseBelow(child);
        }
    }

    private void Fill(int node, SegmentStats stats, ISegmentBuffer? buffer)
    {
        (_full[node], _stats[node], _buffers[node]) = (true, stats, buffer);
        if (buffer is not null) Held++;
    }

    private ISegmentBuffer? Take(int node)
    {
        ISegmentBuffer? buffer = _buffers[node];
        if (buffer is not null) Held--;
        _buffers[node] = null;
        return buffer;
    }
}
