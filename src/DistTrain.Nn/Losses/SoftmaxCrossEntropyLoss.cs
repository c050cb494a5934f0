using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// loss = ln Σ e^x_i − x_label, the gradient softmax(x) − onehot(label). The weight sum counts examples, so the mean is
/// PyTorch's <c>CrossEntropyLoss</c>.
/// </summary>
public sealed record SoftmaxCrossEntropySpec : LossSpec
{
    internal const string Name = "softmax_cross_entropy";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Loss Compile(ImmutableArray<int> output, int? classes, int targetWidth)
    {
        if (classes is not { } count)
        {
            throw new DistTrainException(
                ExitCode.BadUsage, $"loss: {Kind}: wants class labels, got data with real targets; use 'loss: {SquaredErrorSpec.Name}' for regression");
        }

        RequireOutput(output, count, $"the data has {count} classes");
        return new SoftmaxCrossEntropyLoss(count);
    }
}

/// <summary>Softmax cross-entropy for a number of classes.</summary>
internal sealed unsafe class SoftmaxCrossEntropyLoss(int classes) : Loss(positions: 1, weightPerPosition: 1)
{
    /// <inheritdoc/>
    public override void Run(in LossRows rows) =>
        SoftmaxCrossEntropy.Run(rows.Output, rows.Labels, rows.Rows, classes, rows.Losses, rows.Gradient, rows.Correct, rows.Pool);
}
