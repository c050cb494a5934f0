using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;
using DistTrain.Optim;

namespace DistTrain.Training.ParameterServer;

/// <summary>
/// The numbers of one partition: weights of two versions (version v lies in half v mod 2) and the optimizer's state.
/// Version v of a bucket is overwritten only by v + 2, when step v + 1 of it is reduced: nobody needs v any more.
/// </summary>
internal sealed unsafe class PartitionState : IDisposable
{
    private readonly Partition _partition;
    private readonly UpdateRule _rule;
    private readonly NativeBuffer[] _weights;
    private readonly NativeBuffer[] _state;

    public PartitionState(Partition partition, UpdateRule rule)
    {
        (_partition, _rule) = (partition, rule);
        _weights = [new NativeBuffer(partition.Length), new NativeBuffer(partition.Length)];
        _state = [.. rule.StateVectors.Select(_ => new NativeBuffer(partition.Length))];
    }

    public Partition Partition => _partition;

    /// <summary>All vectors that a checkpoint holds: the weights first, then the optimizer's.</summary>
    public IEnumerable<string> VectorNames => _rule.StateVectors.Prepend(WeightsVector);

    public const string WeightsVector = Checkpoints.ModelSnapshot.Weights;

    /// <summary>A range of the weights at a version, by offset in the flat vector.</summary>
    public NativeSpan Weights(long version, long offset, int length) =>
        new((nint)(_weights[version & 1].Pointer + (offset - _partition.Offset)), length);

    /// <summary>A range of a vector as it stands at a version.</summary>
    public NativeSpan Vector(string name, long version, long offset, int length)
    {
        if (name == WeightsVector) return Weights(version, offset, length);
        int index = _rule.StateVectors.ToList().IndexOf(name);
        return new((nint)(_state[index].Pointer + (offset - _partition.Offset)), length);
    }

    /// <summary>
    /// Takes a bucket from version <paramref name="step"/> to the next: copies the weights to the other half and
    /// updates them there. With a total weight of zero the step changes nothing.
    /// </summary>
    public void Apply(Bucket bucket, long step, NativeSpan gradientSum, SegmentStats stats)
    {
        float* next = (float*)Weights(step + 1, bucket.Offset, bucket.Length).Address;
        Weights(step, bucket.Offset, bucket.Length).Span.CopyTo(new Span<float>(next, bucket.Length));
        if (stats.WeightSum == 0) return;
        Span<nint> state = stackalloc nint[_state.Length];
        for (int i = 0; i < state.Length; i++) state[i] = (nint)(_state[i].Pointer + (bucket.Offset - _partition.Offset));
        var context = new UpdateContext(step + 1, stats.WeightSum, _rule.LearningRate(step));
        _rule.Optimizer.Update(context, next, (float*)gradientSum.Address, state, bucket.Length, KernelPool.Single);
    }

    public void Dispose()
    {
        foreach (NativeBuffer buffer in _weights.Concat(_state)) buffer.Dispose();
    }
}
