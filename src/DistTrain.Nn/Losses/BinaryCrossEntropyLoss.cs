using System.Collections.Immutable;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// The cross-entropy of sigmoid(x) with a target probability t, of logits x: loss = Σ ln(1 + e^x_i) − t_i·x_i, taken so that
/// it neither overflows nor cancels; the gradient is sigmoid(x) − t. The weight sum counts elements, so the mean is
/// PyTorch's <c>BCEWithLogitsLoss</c>. Targets are from 0 to 1. With class labels the target is 1 at the label and 0
/// elsewhere, a yes or no for each class; of two classes, a single output says how likely the second one is.
/// </summary>
public sealed record BinaryCrossEntropySpec : LossSpec
{
    internal const string Name = "binary_cross_entropy";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Loss Compile(ImmutableArray<int> output, int? classes, int targetWidth) =>
        new BinaryCrossEntropyLoss(ShapeOf(output, classes, targetWidth, TargetForm.Binary));
}

/// <summary>Binary cross-entropy over a number of logits.</summary>
internal sealed unsafe class BinaryCrossEntropyLoss(TargetShape shape) : TargetLoss(shape, shape.Width)
{
    protected override void Elements(in LossRows rows, nint count) =>
        ElementLosses.BinaryCrossEntropy(rows.Output, rows.Targets, count, Width, rows.Losses, rows.Gradient, rows.Pool);
}
