using System.Collections.Immutable;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;
using DistTrain.Nn;
using DistTrain.Optim;

namespace DistTrain.Training.ParameterServer;

/// <summary>
/// The numbers of one partition: weights of two versions (version v lies in half v mod 2) and the optimizer's state.
/// Version v of a bucket is overwritten only by v + 2, when step v + 1 of it is reduced: nobody needs v any more. Where steps
/// don't wait for each other, both halves are the same memory, which is updated in place.
/// </summary>
internal sealed unsafe class PartitionState : IDisposable
{
    private const int MostBlocksAtOnce = 64;

    // What is updated at once: gradient, weights and state of it fit into the L2 cache, beside a worker's.
    private const int PieceLength = 8 * 1024;

    // Floats of a page of memory, the largest there are: pages of 64 KiB hold whole ones of 4.
    private const int PageLength = 16 * 1024;

    private readonly Partition _partition;
    private readonly UpdateRule _rule;
    private readonly TensorMemory _weights;
    private readonly nint[] _halves;
    private readonly NativeBuffer[] _state;
    private readonly NativeBuffer _piece = new(PieceLength);
    private readonly TensorMemory[] _packed = [];
    private readonly long[] _packedAt = [];
    private readonly ImmutableArray<UpdateRange>[] _ranges;
    private readonly ImmutableArray<(TensorEntry Entry, bool Measured)> _tensors;
    private readonly ParameterLayout _layout;
    private readonly NativeBuffer? _direction;
    private readonly WeightAverages? _averages;
    private NativeBuffer? _workspace;

    public PartitionState(ParameterLayout layout, Partition partition, UpdateRule rule)
    {
        (_layout, _partition, _rule) = (layout, partition, rule);
        _tensors =
        [
            .. layout.Tensors.Select((t, i) => (t, t.Role != TensorRole.Buffer && rule.Group(i) is not { Frozen: true }))
                .Where(t => t.t.Offset < partition.End && t.t.End > partition.Offset),
        ];
        _ranges = [.. partition.Buckets.Select(b => UpdateRange.Of(layout, b, rule))];
        // Each half begins as far from a page's beginning as the partition does in the flat vector, so that whole pages of it
        // can be shown in a worker's flat vector.
        long inPage = partition.Offset % PageLength, stride = (inPage + partition.Length + PageLength - 1) / PageLength * PageLength;
        bool inPlace = !rule.Consistency.IsSync;
        _weights = new TensorMemory(inPlace ? stride : 2 * stride, rule.SharesMemory);
        _halves = [(nint)(_weights.Pointer + inPage), (nint)(_weights.Pointer + (inPlace ? 0 : stride) + inPage)];
        if (!rule.Wire.Weights.IsExact)
        {
            _packedAt = rule.Wire.Weights.Places(partition.Buckets);
            var packed = new TensorMemory(_packedAt[^1], rule.SharesMemory);
            _packed = [packed, inPlace ? packed : new TensorMemory(_packedAt[^1], rule.SharesMemory)];
        }

        _state = [.. rule.StateVectors.Select(_ => new NativeBuffer(partition.Length))];
        if (rule.Trust is { TakesDirection: true }) _direction = new NativeBuffer(partition.Length);
        if (rule.Averaging is { } averaging) _averages = new WeightAverages(averaging, partition);
    }

    public Partition Partition => _partition;

    public UpdateRule Rule => _rule;

    /// <summary>What the rates are multiplied by, beside what the rule says of the step.</summary>
    public double RateFactor { get; set; } = 1;

    /// <summary>The weights' averages; null for none.</summary>
    public WeightAverages? Averages => _averages;

    /// <summary>
    /// All vectors that a checkpoint holds: the weights first, then the optimizer's. Where there are averages, they go by the
    /// weights' name, and the weights themselves come last.
    /// </summary>
    public IEnumerable<string> VectorNames =>
        [WeightsVector, .. _rule.StateVectors, .. _averages is null ? (ReadOnlySpan<string>)[] : [Checkpoints.ModelSnapshot.Unaveraged]];

    public const string WeightsVector = Checkpoints.ModelSnapshot.Weights;

    /// <summary>A range of the weights at a version, by offset in the flat vector.</summary>
    public NativeSpan Weights(long version, long offset, int length) =>
        new(_halves[version & 1] + ((nint)(offset - _partition.Offset) * sizeof(float)), length);

    /// <summary>A bucket's weights at a version as they travel; after <see cref="Pack"/>.</summary>
    public NativeSpan Payload(Bucket bucket, long version)
    {
        if (_packed.Length == 0) return Weights(version, bucket.Offset, bucket.Length);
        return new((nint)(_packed[version & 1].Pointer + _packedAt[bucket.Index - _partition.Buckets[0].Index]), _rule.Wire.Weights.Words(bucket.Length));
    }

    /// <summary>Makes what travels of a bucket's weights at a version.</summary>
    public void Pack(Bucket bucket, long version)
    {
        if (_packed.Length > 0) _rule.Wire.Weights.Pack((float*)Weights(version, bucket.Offset, bucket.Length).Address, Payload(bucket, version), bucket.Length);
    }

    /// <summary>A range of a vector as it stands at a version.</summary>
    public NativeSpan Vector(string name, long version, long offset, int length)
    {
        if (name == WeightsVector && _averages is not null) return _averages.Range(offset, length);
        if (name is WeightsVector or Checkpoints.ModelSnapshot.Unaveraged) return Weights(version, offset, length);
        int index = _rule.StateVectors.ToList().IndexOf(name);
        return new((nint)(_state[index].Pointer + (offset - _partition.Offset)), length);
    }

    /// <summary>
    /// Takes a bucket from version <paramref name="step"/> to the next: copies the weights to the other half and
    /// updates them there, piece by piece, so that a piece stays in the cache from its copy to its update. With a total weight of zero
    /// the step changes nothing.
    /// </summary>
    /// <param name="bucket">The bucket.</param>
    /// <param name="step">The step.</param>
    /// <param name="gradientSum">The root of the shard tree, or its left child; not changed.</param>
    /// <param name="stats">The root's statistics.</param>
    /// <param name="decision">What the norms over the whole model came to; null where the rule needs none.</param>
    /// <param name="right">The root's right child, where the two were not joined; not changed.</param>
    /// <param name="packed">How the two children are packed, which are joined in that format then; null where they are fp32.</param>
    /// <param name="part">That this is only a segment of the step, which updates the weights in place; null for all of it.</param>
    public void Apply(Bucket bucket, long step, NativeSpan gradientSum, SegmentStats stats, NormsDecision? decision = null, NativeSpan right = default, ValueFormat? packed = null, StepPart? part = null)
    {
        if (stats.WeightSum == 0)
        {
            if (part is null) CopyWeights(step, bucket.Offset, bucket.Length);
            return;
        }

        float* left = (float*)gradientSum.Address - bucket.Offset;
        float* other = right.Address == 0 ? null : (float*)right.Address - bucket.Offset;
        foreach (UpdateRange range in RangesOf(bucket))
        {
            UpdateContext context = range.Role == TensorRole.Buffer ? default : Context(range.Tensor, step, stats, decision);
            if (part is { } p) context = context with { Step = p.Update, LearningRate = context.LearningRate * p.Share };
            for (long at = range.Offset; at < range.Offset + range.Length; at += PieceLength)
            {
                UpdateRange piece = range with { Offset = at, Length = (int)Math.Min(PieceLength, range.Offset + range.Length - at) };
                if (part is null) CopyWeights(step, at, piece.Length);
                float* gradient = left + at;
                if (packed is not null)
                {
                    nint from = (nint)(at - bucket.Offset);
                    packed.Join((ushort*)gradientSum.Address + from, (ushort*)right.Address + from, _piece.Pointer, FloatFormat.Float32, piece.Length);
                    gradient = _piece.Pointer;
                }
                else if (other != null)
                {
                    Elementwise.Add(gradient, other + at, _piece.Pointer, piece.Length, KernelPool.Single);
                    gradient = _piece.Pointer;
                }

                Apply(piece, step, gradient, stats, context, decision is { Overflow: true }, part?.Share ?? 1);
            }
        }

        if (part is null) AdvanceAverages(bucket, step);
    }

    /// <summary>Takes a bucket's averages to the version after a step, whose weights are there.</summary>
    public void AdvanceAverages(Bucket bucket, long step) => _averages?.Advance(bucket, RangesOf(bucket), Weights(step + 1, bucket.Offset, bucket.Length));

    private void Apply(in UpdateRange range, long step, float* gradient, SegmentStats stats, in UpdateContext context, bool overflow, double share)
    {
        float* weights = (float*)Weights(step + 1, range.Offset, range.Length).Address;
        if (range.Tensor == _rule.LossScale) LossScale.Advance(new Span<float>(weights, 2), overflow);
        if (overflow || range.Tensor == _rule.LossScale) return;
        if (range.Role == TensorRole.Buffer)
        {
            Blend(weights, gradient, range.Length, stats.Examples, _rule.BufferMomentum!(range.Tensor) * share);
            return;
        }

        if (range.Group is { Frozen: true }) return;
        if (_rule.ClipValue is { } most)
        {
            float* cut = Workspace(range.Length);
            Elementwise.Clamp((float)(most * stats.WeightSum), gradient, cut, range.Length);
            gradient = cut;
        }

        if (_rule.L1 != 0 && context.Decays)
        {
            // The clip, which is still to come, leaves penalties alone.
            float* penalised = Workspace(range.Length);
            Elementwise.AddSigns((float)(_rule.L1 * stats.WeightSum / context.Clip), weights, gradient, penalised, range.Length);
            gradient = penalised;
        }

        if (_direction is not null) gradient = _direction.Pointer + (range.Offset - _partition.Offset);
        Span<nint> state = stackalloc nint[_state.Length];
        State(range, state);
        _rule.Optimizer.Update(context, weights, gradient, state, range.Length, KernelPool.Single);
    }

    private void CopyWeights(long step, long offset, int length) =>
        Weights(step, offset, length).Span.CopyTo(Weights(step + 1, offset, length).Span);

    /// <summary>Sets weights at version 0, by offset in the flat vector: averages begin with them.</summary>
    public void Initialise(long offset, ReadOnlySpan<float> values)
    {
        values.CopyTo(Weights(0, offset, values.Length).Span);
        if (_averages is not null) values.CopyTo(_averages.Range(offset, values.Length).Span);
    }

    /// <summary>Lets the optimizer prepare the step of a bucket, where its rates depend on norms.</summary>
    public void Prepare(Bucket bucket, long step, NativeSpan gradientSum, SegmentStats stats)
    {
        if (_rule.Trust is not { TakesDirection: true } optimizer || stats.WeightSum == 0) return;
        Span<nint> state = stackalloc nint[_state.Length];
        foreach (UpdateRange range in RangesOf(bucket))
        {
            if (range.Role == TensorRole.Buffer || range.Group is { Frozen: true }) continue;
            State(range, state);
            float* weights = (float*)Weights(step, range.Offset, range.Length).Address;
            float* gradient = (float*)gradientSum.Address + (range.Offset - bucket.Offset);
            optimizer.Prepare(
                Context(range.Tensor, step, stats, null), weights, gradient, state, _direction!.Pointer + (range.Offset - _partition.Offset), range.Length, KernelPool.Single);
        }
    }

    /// <summary>What a step's norms are taken of: the gradient sums, or the direction that was prepared from them.</summary>
    public NativeSpan Measured(Bucket bucket, NativeSpan gradientSum) =>
        _direction is null ? gradientSum : new((nint)(_direction.Pointer + (bucket.Offset - _partition.Offset)), bucket.Length);

    /// <summary>What follows from a step's norms.</summary>
    /// <param name="step">The step.</param>
    /// <param name="stats">Its statistics.</param>
    /// <param name="squares">Of each tensor; where the optimizer's rates depend on norms, those of the weights behind.</param>
    public NormsDecision Decide(long step, SegmentStats stats, ImmutableArray<double> squares)
    {
        int tensors = _layout.Tensors.Length;
        if (squares.Length != tensors * (_rule.Trust is null ? 1 : 2)) throw Orders.Bad($"norms of {squares.Length} tensors; the model has {tensors}");
        if (_rule.LossScale is not null && squares.Any(s => !double.IsFinite(s))) return new NormsDecision(1, [], Overflow: true);
        if (stats.WeightSum == 0) return new NormsDecision(1, []);
        if (_rule.Trust is not { } optimizer) return new NormsDecision(_rule.Clip(squares, stats.WeightSum), []);
        var trust = ImmutableArray.CreateBuilder<double>(tensors);
        for (int t = 0; t < tensors; t++)
        {
            bool scaled = _layout.Tensors[t].Role != TensorRole.Buffer && _rule.Decays(_layout.Tensors[t].Role);
            trust.Add(scaled ? optimizer.Trust(Context(t, step, stats, null), squares[tensors + t], squares[t]) : 1);
        }

        return new NormsDecision(1, trust.MoveToImmutable());
    }

    /// <summary>
    /// Adds to <paramref name="squares"/> the sum of squares of each block of a bucket's part of a vector, ascending; 0 for
    /// buffers and for what is frozen.
    /// </summary>
    public void Measure(Bucket bucket, NativeSpan values, List<float> squares)
    {
        Span<float> sums = stackalloc float[MostBlocksAtOnce];
        foreach ((TensorEntry tensor, bool counts) in _tensors)
        {
            long start = Math.Max(bucket.Offset, tensor.Offset), end = Math.Min(bucket.End, tensor.End);
            for (long at = start; at < end; at += MostBlocksAtOnce * ParameterLayout.BlockLength)
            {
                int length = (int)Math.Min(end - at, MostBlocksAtOnce * ParameterLayout.BlockLength);
                int blocks = (int)BlockNorms.Blocks(length);
                sums.Clear();
                if (counts)
                {
                    fixed (float* s = sums) BlockNorms.SumsOfSquares((float*)values.Address + (at - bucket.Offset), FloatFormat.Float32, length, s);
                }

                foreach (float sum in sums[..blocks]) squares.Add(sum);
            }
        }
    }

    /// <summary>How many of a bucket's gradient sums are zero, block by block, as <see cref="Measure"/> goes.</summary>
    public void CountZeros(Bucket bucket, NativeSpan gradientSum, List<int> zeros)
    {
        foreach ((TensorEntry tensor, _) in _tensors)
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
        _weights.Dispose();
        _piece.Dispose();
        foreach (TensorMemory buffer in _packed) buffer.Dispose();
        foreach (NativeBuffer buffer in _state) buffer.Dispose();
        _workspace?.Dispose();
        _direction?.Dispose();
        _averages?.Dispose();
    }

    private UpdateContext Context(int tensor, long step, SegmentStats stats, NormsDecision? decision)
    {
        ParameterGroup? group = _rule.Group(tensor);
        double rate = _rule.LearningRate(step) * RateFactor * (group?.LearningRateScale ?? 1);
        return new UpdateContext(step + 1, stats.WeightSum, rate, _rule.Decays(_layout.Tensors[tensor].Role), decision?.Clip ?? 1)
        {
            WeightDecay = group?.WeightDecay,
            Trust = decision is { Trust: { IsDefaultOrEmpty: false } trust } ? trust[tensor] : 1,
        };
    }

    private void State(in UpdateRange range, Span<nint> state)
    {
        for (int i = 0; i < state.Length; i++) state[i] = (nint)(_state[i].Pointer + (range.Offset - _partition.Offset));
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
            // A sum that a 16-bit format can't hold says nothing.
            if (float.IsInfinity(sum[i])) continue;
            float mean = sum[i] / examples;
            running[i] = (keep * running[i]) + (take * mean);
        }
    }
}
