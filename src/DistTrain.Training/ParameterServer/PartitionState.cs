using System.Collections.Immutable;
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
    private const int MostBlocksAtOnce = 64;

    private readonly Partition _partition;
    private readonly UpdateRule _rule;
    private readonly NativeBuffer[] _weights;
    private readonly NativeBuffer[] _state;
    private readonly ImmutableArray<UpdateRange>[] _ranges;
    private readonly ImmutableArray<TensorEntry> _tensors;
    private NativeBuffer? _workspace;

    public PartitionState(ParameterLayout layout, Partition partition, UpdateRule rule)
    {
        (_partition, _rule) = (partition, rule);
        _tensors = [.. layout.Tensors.Where(t => t.Offset < partition.End && t.End > partition.Offset)];
        _ranges = [.. partition.Buckets.Select(b => UpdateRange.Of(layout, b))];
        _weights = [new NativeBuffer(partition.Length), new NativeBuffer(partition.Length)];
        _state = [.. rule.StateVectors.Select(_ => new NativeBuffer(partition.Length))];
    }

    public Partition Partition => _partition;

    public UpdateRule Rule => _rule;

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
    /// <param name="bucket">The bucket.</param>
    /// <param name="step">The step.</param>
    /// <param name="gradientSum">The root of the shard tree; not changed.</param>
    /// <param name="stats">Its statistics.</param>
    /// <param name="clip">What the mean gradient is multiplied by.</param>
    public void Apply(Bucket bucket, long step, NativeSpan gradientSum, SegmentStats stats, double clip = 1)
    {
        float* next = (float*)Weights(step + 1, bucket.Offset, bucket.Length).Address;
        Weights(step, bucket.Offset, bucket.Length).Span.CopyTo(new Span<float>(next, bucket.Length));
        if (stats.WeightSum == 0) return;
        Span<nint> state = stackalloc nint[_state.Length];
        double rate = _rule.LearningRate(step);
        foreach (UpdateRange range in RangesOf(bucket))
        {
            float* weights = next + (range.Offset - bucket.Offset);
            float* gradient = (float*)gradientSum.Address + (range.Offset - bucket.Offset);
            if (range.Role == TensorRole.Buffer)
            {
                Blend(weights, gradient, range.Length, stats.Examples, _rule.BufferMomentum!(range.Tensor));
                continue;
            }

            if (_rule.ClipValue is { } most)
            {
                float* cut = Workspace(range.Length);
                Elementwise.Clamp((float)(most * stats.WeightSum), gradient, cut, range.Length);
                gradient = cut;
            }

            for (int i = 0; i < state.Length; i++) state[i] = (nint)(_state[i].Pointer + (range.Offset - _partition.Offset));
            var context = new UpdateContext(step + 1, stats.WeightSum, rate, _rule.DecaysAll || range.Role == TensorRole.Parameter, clip);
            _rule.Optimizer.Update(context, weights, gradient, state, range.Length, KernelPool.Single);
        }
    }

    /// <summary>
    /// Adds to <paramref name="squares"/> the sum of squares of each block of a bucket's gradient sums, ascending; 0 for
    /// those of buffers.
    /// </summary>
    public void Measure(Bucket bucket, NativeSpan gradientSum, List<float> squares)
    {
        Span<float> sums = stackalloc float[MostBlocksAtOnce];
        foreach (TensorEntry tensor in _tensors)
        {
            long start = Math.Max(bucket.Offset, tensor.Offset), end = Math.Min(bucket.End, tensor.End);
            for (long at = start; at < end; at += MostBlocksAtOnce * ParameterLayout.BlockLength)
            {
                int length = (int)Math.Min(end - at, MostBlocksAtOnce * ParameterLayout.BlockLength);
                int blocks = (int)BlockNorms.Blocks(length);
                sums.Clear();
                if (tensor.Role != TensorRole.Buffer)
                {
                    fixed (float* s = sums) BlockNorms.SumsOfSquares((float*)gradientSum.Address + (at - bucket.Offset), FloatFormat.Float32, length, s);
                }

                foreach (float sum in sums[..blocks]) squares.Add(sum);
            }
        }
    }

    /// <summary>How many of a bucket's gradient sums are zero, block by block, as <see cref="Measure"/> goes.</summary>
    public void CountZeros(Bucket bucket, NativeSpan gradientSum, List<int> zeros)
    {
        foreach (TensorEntry tensor in _tensors)
        {
            long start = Math.Max(bucket.Offset, tensor.Offset), end = Math.Min(bucket.End, tensor.End);
            for (long at = start; at < end; at += ParameterLayout.BlockLength)
            {
                zeros.Add(gradientSum.Span.Slice((int)(at - bucket.Offset), (int)Math.Min(end - at, ParameterLayout.BlockLength)).Count(0f));
            }
        }
    }

    public void Dispose()
    {
        foreach (NativeBuffer buffer in _weights.Concat(_state)) buffer.Dispose();
        _workspace?.Dispose();
    }

    private ImmutableArray<UpdateRange> RangesOf(Bucket bucket) => _ranges[bucket.Index - _partition.Buckets[0].Index];

    private float* Workspace(int length)
    {
        if (_workspace is null || _workspace.Length < length)
        {
            _workspace?.Dispose();
            _workspace = new NativeBuffer(length);
        }

        return _workspace.Pointer;
    }

    // running = (1 - momentum) · running + momentum · (sum / examples), each operation rounded.
    private static void Blend(float* running, float* sum, int length, long examples, double momentum)
    {
        float keep = (float)(1 - momentum), take = (float)momentum;
        for (int i = 0; i < length; i++)
        {
            float mean = sum[i] / examples;
            running[i] = (keep * running[i]) + (take * mean);
        }
    }
}
