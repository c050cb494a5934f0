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
/// What is sent stays untouched until its step is committed, because segments may have to be sent again. Where they are
/// packed to travel, gradients are computed in vectors that all rounds share, and the round holds what their nodes were packed into.
/// </summary>
internal sealed unsafe class GradientRound(long length, WireFormat? format = null, GradientVectors? vectors = null, bool share = false, HeldBack? heldBack = null) : IDisposable
{
    private readonly List<TensorMemory> _buffers = [];
    private readonly WireFormat _wire = format ?? WireFormat.Exact;
    private int[] _leaves = [];
    private nint[] _segments = [];
    private bool _whole;

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
    /// <param name="step">The step.</param>
    /// <param name="rows">What is computed.</param>
    /// <param name="whole">Nothing may be held back of this step, nor what was before.</param>
    public void Begin(long step, ShardRows rows, bool whole = false)
    {
        while (_buffers.Count < rows.Sent.Count) _buffers.Add(new TensorMemory(_wire.Room(length), share));
        if (Stats.Length != rows.Nodes.Count) Stats = new SegmentStats[rows.Nodes.Count];
        if (!_wire.RoundsNodes) SentStats = Stats;
        else if (SentStats.Length != rows.Sent.Count) (SentStats, _leaves) = (new SegmentStats[rows.Sent.Count], new int[rows.Sent.Count + 1]);
        (Step, Sent, Plan, Complete, _whole) = (step, rows.Sent, rows.Plan, false, whole && _wire.HoldsBack);
        for (int node = 0; node < rows.Nodes.Count; node++) Plan.Gradients[node] = (nint)(_wire.IsExact ? _buffers[node].Pointer : vectors![node]);
        for (int node = 0; node < rows.Sent.Count && _wire.RoundsNodes; node++) _leaves[node + 1] = _leaves[node] + rows.Sent[node].Length;
        if (_wire.ByValue is not { } format) return;
        Plan.Rounding = format.Format;
        for (int node = 0; node < rows.Sent.Count; node++) Plan.Sums[node] = (nint)_buffers[node].Pointer;
        if (_segments.Length < rows.Nodes.Count) _segments = new nint[rows.Nodes.Count];
    }

    /// <summary>The round is not gone on with: it is free.</summary>
    public void Abandon() => Step = -1;

    /// <summary>Joins the statistics of what was computed to those of what is sent.</summary>
    public void JoinStats()
    {
        if (!_wire.RoundsNodes) return;
        for (int node = 0; node < Sent.Count; node++) SentStats[node] = Join(Sent[node], _leaves[node] - Sent[node].Lo);
    }

    /// <summary>The gradients of the step that was begun are about to become final.</summary>
    public void BeginSealing() => heldBack?.Take(Sent);

    /// <summary>
    /// Elements [<paramref name="start"/>, <paramref name="end"/>) of the computed nodes are final. Where the wire rounds each value by
    /// itself, they are joined along the tree and packed: a leaf is rounded, and so is every sum of two nodes, whoever computes it.
    /// </summary>
    public void Pack(long start, long end)
    {
        if (_wire.ByValue is not { } format) return;
        for (int node = 0; node < Sent.Count; node++)
        {
            Span<nint> leaves = _segments.AsSpan(0, Sent[node].Length);
            for (int i = 0; i < leaves.Length; i++) leaves[i] = (nint)((float*)Plan.Gradients[_leaves[node] + i] + start);
            format.PackSum(leaves, (byte*)_buffers[node].Pointer + (start * format.Format.Size()), end - start);
        }
    }

    /// <summary>All elements of a bucket are final. Where the wire packs buckets as a whole, that is done, as in <see cref="Pack"/>.</summary>
    public void Seal(Bucket bucket)
    {
        if (_wire.IsExact || _wire.ByValue is not null) return;
        for (int node = 0; node < Sent.Count; node++)
        {
            float* sum = _wire.RoundsNodes ? Join(Sent[node], _leaves[node] - Sent[node].Lo, bucket, rounds: false) : (float*)Plan.Gradients[node] + bucket.Offset;
            float* before = heldBack is null ? null : heldBack.Of(Sent[node]) + bucket.Offset;
            _wire.Pack(sum, before, Payload(node, bucket), new WireNode(Step, Sent[node]), bucket);
        }
    }

    /// <summary>What travels of a bucket of a node that is sent; after <see cref="Seal"/>.</summary>
    public NativeSpan Payload(int node, Bucket bucket) =>
        new((nint)(_buffers[node].Pointer + _wire.Place(bucket)), _whole ? bucket.Length : _wire.Words(bucket));

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

    // The sum lies in the first leaf's vector. The node that is sent is rounded when it is packed.
    private float* Join(ShardRange node, int shift, Bucket bucket, bool rounds)
    {
        float* sum;
        if (node.Length == 1)
        {
            sum = (float*)Plan.Gradients[node.Lo + shift] + bucket.Offset;
        }
        else
        {
            int split = ShardTree.SplitPoint(node);
            sum = Join(node with { Hi = split }, shift, bucket, rounds: true);
            float* right = Join(node with { Lo = split }, shift, bucket, rounds: true);
            Elementwise.Add(sum, right, sum, bucket.Length, KernelPool.Single);
        }

        if (rounds) _wire.Round(sum, new WireNode(Step, node), bucket);
        return sum;
    }
}
