using System.Collections.Immutable;
using DistTrain.Core.Layout;
using DistTrain.Optim;

namespace DistTrain.Training.ParameterServer;

/// <summary>How a partition changes by a reduced gradient: handed to the server, which only is the mechanism.</summary>
/// <param name="Optimizer">The element-wise update.</param>
/// <param name="StateVectors">Names of the vectors that it keeps beside the weights, each as long as they.</param>
/// <param name="LearningRate">The rate of a step, from 0, as a function of the step alone.</param>
public sealed record UpdateRule(IOptimizer Optimizer, IReadOnlyList<string> StateVectors, Func<long, double> LearningRate)
{
    /// <summary>Whether weight decay applies to biases and to the scales and shifts of norms too.</summary>
    public bool DecaysAll { get; init; } = true;

    /// <summary>The largest norm that the mean gradient of the whole model may have; null for any.</summary>
    public double? ClipNorm { get; init; }

    /// <summary>What an element of the mean gradient is cut to, both ways; null for no cut.</summary>
    public double? ClipValue { get; init; }

    /// <summary>What is added to the mean gradient along the signs of decaying weights, whatever clips there are; 0 for nothing.</summary>
    public double L1 { get; init; }

    /// <summary>The group of each tensor by its place in the layout, null for none; empty where there are no groups.</summary>
    public ImmutableArray<ParameterGroup?> Groups { get; init; } = [];

    /// <summary>
    /// How far a buffer moves towards a mini-batch's mean of its statistic, by the tensor's place in the layout; null for
    /// models without buffers.
    /// </summary>
    public Func<int, double>? BufferMomentum { get; init; }

    /// <summary>The place in the layout of the loss scale's state; null where the loss isn't scaled.</summary>
    public int? LossScale { get; init; }

    /// <summary>How segments and weights travel.</summary>
    public WireOptions Wire { get; init; } = WireOptions.Exact;

    /// <summary>Whether the weights lie where other processes of this host may read them.</summary>
    public bool SharesMemory { get; init; }

    /// <summary>The moving average of the weights; null for none.</summary>
    public WeightAveraging? Averaging { get; init; }

    /// <summary>Whether steps wait for each other. Where not, weights have one version only and change in place.</summary>
    public Consistency Consistency { get; init; } = Consistency.Sync;

    /// <summary>The examples of a step's mini-batch, of which a segment that is applied by itself has a share; null where all wait for all.</summary>
    public Func<long, int>? BatchSize { get; init; }

    /// <summary>Every so many steps the gradient is looked at; 0 for never.</summary>
    public long WatchEvery { get; init; }

    /// <summary>Whether a step is one of those that are looked at.</summary>
    public bool Watches(long step) => Core.Messages.Watched.IsDue(step, WatchEvery);

    /// <summary>Whether a step waits for norms over the whole model.</summary>
    public bool NeedsNorms => ClipNorm is not null || Trust is not null || LossScale is not null;

    /// <summary>The optimizer, where its rates depend on the norms of whole tensors; there is no clip by norm then.</summary>
    internal ITrustOptimizer? Trust => Optimizer as ITrustOptimizer;

    /// <summary>The group of a tensor.</summary>
    internal ParameterGroup? Group(int tensor) => Groups.IsEmpty ? null : Groups[tensor];

    /// <summary>Whether a tensor of this role is decayed, where its group doesn't say so itself.</summary>
    internal bool Decays(TensorRole role) => DecaysAll || role == TensorRole.Parameter;

    /// <summary>What gradients are multiplied by: PyTorch's <c>clip_grad_norm_</c>, over all tensors.</summary>
    /// <param name="tensorSquares">The sum of squares of each tensor's gradient sum.</param>
    /// <param name="totalWeight">What the sums are divided by.</param>
    internal double Clip(ImmutableArray<double> tensorSquares, double totalWeight)
    {
        if (ClipNorm is not { } most) return 1;
        if (totalWeight == 0) return 1;
        double norm = Math.Sqrt(Kernels.BlockNorms.Model(tensorSquares.AsSpan())) / totalWeight;
        return Math.Min(1, most / (norm + 1e-6));
    }
}

/// <summary>What the norms over the whole model came to.</summary>
/// <param name="Clip">What the mean gradient is multiplied by.</param>
/// <param name="Trust">What each tensor's rate is multiplied by, by its place in the layout; empty for 1.</param>
/// <param name="Overflow">Whether the step is skipped, because its scaled gradient overflowed.</param>
internal readonly record struct NormsDecision(double Clip, ImmutableArray<double> Trust, bool Overflow = false);

/// <summary>A segment that is applied by itself, as an update of its own.</summary>
/// <param name="Share">Its share of the mini-batch: what rates, and the pull of a batch's statistics, are multiplied by.</param>
/// <param name="Update">Which update of the bucket it is, from 1: the optimizer's state decays with each.</param>
internal readonly record struct StepPart(double Share, long Update);

/// <summary>Elements of a bucket that change in one way.</summary>
/// <param name="Offset">The first, in the flat vector.</param>
/// <param name="Length">How many, padding between tensors included.</param>
/// <param name="Role">What they are for.</param>
/// <param name="Tensor">The tensor's place in the layout; of the first one where there are several.</param>
/// <param name="Group">Their group.</param>
internal readonly record struct UpdateRange(long Offset, int Length, TensorRole Role, int Tensor, ParameterGroup? Group)
{
    /// <summary>The ranges of a bucket, ascending; neighbours that change in one way are one range.</summary>
    public static ImmutableArray<UpdateRange> Of(ParameterLayout layout, Bucket bucket, UpdateRule rule)
    {
        var ranges = new List<UpdateRange>();
        for (int t = 0; t < layout.Tensors.Length; t++)
        {
            long start = Math.Max(bucket.Offset, layout.Tensors[t].Offset);
            long end = Math.Min(bucket.End, t + 1 < layout.Tensors.Length ? layout.Tensors[t + 1].Offset : layout.Length);
            if (start >= end) continue;
            TensorRole role = layout.Tensors[t].Role;
            ParameterGroup? group = rule.Group(t);
            bool alike = ranges.Count > 0 && ranges[^1].Role == role && ranges[^1].Group == group && role != TensorRole.Buffer && rule.Trust is null;
            if (alike) ranges[^1] = ranges[^1] with { Length = (int)(end - ranges[^1].Offset) };
            else ranges.Add(new UpdateRange(start, (int)(end - start), role, t, group));
        }

        return [.. ranges];
    }
}
