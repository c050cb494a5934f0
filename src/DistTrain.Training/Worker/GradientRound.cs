using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;
using DistTrain.Nn;

namespace DistTrain.Training.Worker;

/// <summary>
/// Gradient buffers for one computation of some shards of one step: one flat vector for each tree node that is sent.
/// A round's buffers stay untouched until its step is committed, because segments may have to be sent again.
/// </summary>
internal sealed unsafe class GradientRound : IDisposable
{
    private readonly List<NativeBuffer> _buffers = [];
    private readonly long _length;

    public GradientRound(long length) => _length = length;

    /// <summary>The step that the buffers belong to; -1 when free.</summary>
    public long Step { get; private set; } = -1;

    /// <summary>The statistics of the nodes, known before backward begins.</summary>
    public SegmentStats[] Stats { get; private set; } = [];

    /// <summary>The tree nodes, ascending.</summary>
    public IReadOnlyList<ShardRange> Nodes { get; private set; } = [];

    /// <summary>Rows, leaves and nodes, with this round's buffers as the destination.</summary>
    public GradientPlan Plan { get; private set; } = null!;

    /// <summary>Takes the round for a step. Allocates only when it has fewer buffers than the plan has nodes.</summary>
    public void Begin(long step, ShardRows rows)
    {
        while (_buffers.Count < rows.Nodes.Count) _buffers.Add(new NativeBuffer(_length));
        if (Stats.Length != rows.Nodes.Count) Stats = new SegmentStats[rows.Nodes.Count];
        Step = step;
        Nodes = rows.Nodes;
        Plan = rows.Plan;
        for (int node = 0; node < rows.Nodes.Count; node++) Plan.Gradients[node] = (nint)_buffers[node].Pointer;
    }

    /// <summary>A bucket's part of a node's gradient.</summary>
    public NativeSpan Gradient(int node, Bucket bucket) => new((nint)(_buffers[node].Pointer + bucket.Offset), bucket.Length);

    public void Dispose()
    {
        foreach (NativeBuffer buffer in _buffers) buffer.Dispose();
    }
}
