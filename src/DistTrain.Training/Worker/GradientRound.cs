using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;
using DistTrain.Nn;

namespace DistTrain.Training.Worker;

/// <summary>Flat vectors that one round at a time computes in.</summary>
internal sealed class GradientVectors(long length) : IDisposable
{
    private readonly List<NativeBuffer> _buffers = [];

    /// <summary>Vector <paramref name="i"/>, made when it is asked for the first time.</summary>
    public unsafe float* this[int i]
    {
        get
        {
            while (_buffers.Count <= i) _buffers.Add(new NativeBuffer(length));
            return _buffers[i].Pointer;
        }
    }

    public void Dispose()
    {
        foreach (NativeBuffer buffer in _buffers) buffer.Dispose();
    }
}

/// <summary>
/// Gradient buffers for one computation of some shards of one step: one flat vector for each tree node that is sent.
/// What is sent stays untouched until its step is committed, because segments may have to be sent again. Where the wire
/// rounds, shards are computed in vectors that all rounds share, and the round holds what their nodes were packed into.
/// </summary>
internal sealed unsafe class GradientRound(long length, WireFormat? format = null, GradientVectors? vectors = null, bool share = false) : IDisposable
{
    private readonly List<TensorMemory> _buffers = [];
    private readonly WireFormat _wire = format ?? WireFormat.Exact;
    private int[] _leaves = [];

    /// <summary>The step that the buffers belong to; -1 when free.</summary>
    public long Step { get; private set; } = -1;

    /// <summary>Whether all of it was computed, and pushed.</summary>
    public bool Complete { get; set; }

    /// <summary>See <see cref="SegmentHeader.Basis"/>.</summary>
    public long Basis { get; set; }

    /// <summary>The <see cref="SegmentHeader.Number"/> of what is sent first.</summary>
    public long Number { get; set; }

    /// <summary>See <see cref="SegmentHeader.Oldest"/>.</summary>
    public long Oldest { get; set; }

    /// <summary>The statistics of the nodes that are computed, known before backward begins.</summary>
    public SegmentStats[] Stats { get; private set; } = [];

    /// <summary>The tree nodes that are sent, ascending.</summary>
    public IReadOnlyList<ShardRange> Sent { get; private set; } = [];

    /// <summary>Their statistics.</summary>
    public SegmentStats[] SentStats { get; private set; } = [];

    /// <summary>Rows, leaves and nodes, with this round's buffers as the destination.</summary>
    public GradientPlan Plan { get; private set; } = null!;

    /// <summary>Takes the round for a step. Allocates only when it has fewer buffers than the plan has nodes.</summary>
    public void Begin(long step, ShardRows rows)
    {
        while (_buffers.Count < rows.Sent.Count) _buffers.Add(new TensorMemory(_wire.IsExact ? length : _wire.Words(length), share));
        if (Stats.Length != rows.Nodes.Count) Stats = new SegmentStats[rows.Nodes.Count];
        if (_wire.IsExact) SentStats = Stats;
        else if (SentStats.Length != rows.Sent.Count) (SentStats, _leaves) = (new SegmentStats[rows.Sent.Count], new int[rows.Sent.Count + 1]);
        (Step, Sent, Plan, Complete) = (step, rows.Sent, rows.Plan, false);
        for (int node = 0; node < rows.Nodes.Count; node++) Plan.Gradients[node] = (nint)(_wire.IsExact ? _buffers[node].Pointer : vectors![node]);
        for (int node = 0; node < rows.Sent.Count && !_wire.IsExact; node++) _leaves[node + 1] = _leaves[node] + rows.Sent[node].Length;
    }

    /// <summary>The round is not gone on with: it is free.</summary>
    public void Abandon() => Step = -1;

    /// <summary>Joins the statistics of what was computed to those of what is sent.</summary>
    public void JoinStats()
    {
        if (_wire.IsExact) return;
        for (int node = 0; node < Sent.Count; node++) SentStats[node] = Join(Sent[node], _leaves[node] - Sent[node].Lo);
    }

    /// <summary>
    /// A bucket's gradients are final. Where the wire rounds, they are joined along the tree and packed: a leaf is rounded,
    /// and so is every sum of two nodes, whoever computes it.
    /// </summary>
    public void Seal(Bucket bucket)
    {
        if (_wire.IsExact) return;
        for (int node = 0; node < Sent.Count; node++)
        {
            float* sum = Join(Sent[node], _leaves[node] - Sent[node].Lo, bucket);
            _wire.Pack(sum, Payload(node, bucket), bucket.Length);
        }
    }

    /// <summary>What travels of a bucket of a node that is sent; after <see cref="Seal"/>.</summary>
    public NativeSpan Payload(int node, Bucket bucket) => _wire.IsExact
        ? new((nint)(_buffers[node].Pointer + bucket.Offset), bucket.Length)
        : new((nint)(_buffers[node].Pointer + _wire.Words(bucket.Offset)), _wire.Words(bucket.Length));

    public void Dispose()
    {
        foreach (TensorMemory buffer in _buffers) buffer.Dispose();
    }

    private SegmentStats Join(ShardRange node, int shift)
    {
        if (node.Length == 1) return Stats[node.Lo + shift];
        int split = ShardTree.SplitPoint(node);
        return SegmentStats.Join(Join(node with { Hi = split }, shift), Join(node with { Lo = split }, shift));
    }

    // The sum lies in the first leaf's vector.
    private float* Join(ShardRange node, int shift, Bucket bucket)
    {
        if (node.Length == 1)
        {
            float* leaf = (float*)Plan.Gradients[node.Lo + shift] + bucket.Offset;
            _wire.Round(leaf, bucket.Length);
            return leaf;
        }

        int split = ShardTree.SplitPoint(node);
        float* left = Join(node with { Hi = split }, shift, bucket);
        float* right = Join(node with { Lo = split }, shift, bucket);
        Elementwise.Add(left, right, left, bucket.Length, KernelPool.Single);
        _wire.Round(left, bucket.Length);
        return left;
    }
}
