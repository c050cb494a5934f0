using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// The Kullback-Leibler divergence of softmax(x) from target probabilities t, of logits x: loss = Σ t_i (ln t_i − ln p_i),
/// where t_i = 0 counts nothing; the gradient is (Σ t)·p − t. Of outputs [classes] every example has a distribution, of
/// [time, classes] every position. The weight sum counts distributions, so the mean is PyTorch's
/// <c>KLDivLoss(reduction='batchmean')</c> of the log-softmax. The data has real targets.
/// </summary>
public sealed record KlDivergenceSpec : LossSpec
{
    internal const string Name = "kl_divergence";

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <inheritdoc/>
    public override bool TakesMixedLabels => false;

    internal override Loss Compile(ImmutableArray<int> output, int? classes, int targetWidth)
    {
        if (classes is not null) throw Refused($"wants a probability of each class, got data with class labels; use 'loss: {SoftmaxCrossEntropySpec.Name}' for labels");
        return new KlDivergenceLoss(ShapeOf(output, null, targetWidth));
    }
}

/// <summary>Kullback-Leibler divergence for a number of classes, at each position.</summary>
internal sealed unsafe class KlDivergenceLoss(TargetShape shape) : TargetLoss(shape, weightPerPosition: 1)
{
    protected override void Elements(in LossRows rows, nint count) =>
        KlDivergence.Run(rows.Output, rows.Targets, count, Width, rows.Losses, rows.Gradient, rows.Pool);
}

/// <summary>Softmax cross-entropy with a distribution over the classes as the target, at each position.</summary>
internal sealed unsafe class SoftCrossEntropyLoss(TargetShape shape, SoftmaxCrossEntropySpec spec) : TargetLoss(shape, weightPerPosition: 1)
{
    private readonly float[]? _classWeights = spec.ClassWeights.IsEmpty ? null : [.. spec.ClassWeights.Select(w => (float)w)];
    private readonly float _smoothing = (float)spec.LabelSmoothing;

    protected override void Elements(in LossRows rows, nint count)
    {
        fixed (float* weights = _classWeights)
        {
            var options = new CrossEntropyOptions { LabelSmoothing = _smoothing, ClassWeights = weights };
            SoftmaxCrossEntropy.RunSoft(rows.Output, rows.Targets, count, Width, in options, rows.Losses, rows.Gradient, rows.Pool);
        }
    }
}
