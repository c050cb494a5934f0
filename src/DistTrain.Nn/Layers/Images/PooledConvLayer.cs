using System.Collections.Immutable;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// A convolution, a ReLU where there is one, and a max pooling of 2x2, 2 apart, in one: only the maxima are written, and the
/// way back spreads their gradients as it reads them. The bits are those of the layers one by one.
/// </summary>
internal sealed unsafe class PooledConvLayer(Parameter weight, Parameter? bias, ConvolutionShape shape, ImmutableArray<int> outputShape, bool relu) : Layer(outputShape)
{
    /// <inheritdoc/>
    public override ImmutableArray<Parameter> Parameters { get; } = bias is null ? [weight] : [weight, bias];

    /// <inheritdoc/>
    public override long Flops =>
        (2L * shape.OutputHeight * shape.OutputWidth * shape.WeightLength) + (bias is null ? 0 : shape.OutputLength) + (4L * OutputWidth);

    /// <inheritdoc/>
    public override bool BackwardReadsInput => true;

    /// <summary>For each output which pixel of its window it was.</summary>
    public override Room Kept => new(OutputWidth);

    /// <summary>The packed weights of the pass.</summary>
    public override Room Scratch => ConvPasses.PackedWeights(shape);

    /// <summary>y (rows, y / 2, x / 2, out) = max_pool(relu(conv(x (rows, y, x, channels), W) + b)).</summary>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        Convolution.PackForward(shape, step.Weight(weight), node.Scratch);
        Convolution.ForwardPooled(
            shape, step.Rows, node.Input(), node.Scratch, bias is null ? null : step.Weight(bias), relu, node.Output, step.Key.Training ? node.Kept : null, step.Pool);
    }

    /// <summary>db and dW, which others wait for; then dx.</summary>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        float* dy = node.OutputGradient;
        GradientPlan plan = step.Plan!;
        if (bias is not null)
        {
            for (int j = 0; j < plan.NodeCount; j++)
            {
                Convolution.BiasGradientPooled(shape, dy, node.Kept, plan.RangesOf(j), plan.LeafStartsOf(j), step.Gradient(bias, j), step.Pool);
            }

            step.Finished(bias);
        }

        for (int j = 0; j < plan.NodeCount; j++)
        {
            Convolution.WeightGradientPooled(
                shape, dy, node.Kept, node.Input(), plan.RangesOf(j), plan.LeafStartsOf(j), step.Gradient(weight, j), step.Pool);
        }

        step.Finished(weight);
        if (node.InputGradient() == null) return;
        Convolution.PackData(shape, step.Weight(weight), node.Scratch);
        Convolution.DataGradientPooled(shape, step.Rows, dy, node.Kept, node.Scratch, node.InputGradient(), step.Pool);
    }
}

/// <summary>What layers with a convolution have in common.</summary>
internal static class ConvPasses
{
    /// <summary>Room for the packed weights of either pass.</summary>
    public static Room PackedWeights(in ConvolutionShape shape) =>
        new(0, Once: Math.Max(Convolution.ForwardPackedLength(shape), Convolution.DataPackedLength(shape)));
}
