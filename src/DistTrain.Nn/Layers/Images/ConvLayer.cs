using System.Collections.Immutable;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// A convolution, and the activation behind it, which runs at the end of its sums. Sequences are images of one row.
/// Weights are packed once for each pass over all rows.
/// </summary>
internal sealed unsafe class ConvLayer(
    Parameter weight, Parameter? bias, ConvolutionShape shape, ImmutableArray<int> outputShape, Activation activation = Activation.Identity) : Layer(outputShape)
{
    /// <inheritdoc/>
    public override ImmutableArray<Parameter> Parameters { get; } = bias is null ? [weight] : [weight, bias];

    /// <inheritdoc/>
    public override long Flops => (2L * shape.OutputHeight * shape.OutputWidth * shape.WeightLength) + (bias is null ? 0 : OutputWidth);

    /// <inheritdoc/>
    public override bool BackwardReadsInput => true;

    /// <inheritdoc/>
    public override bool BackwardReadsOutput => activation != Activation.Identity;

    /// <summary>The packed weights of the pass.</summary>
    public override Room Scratch => ConvPasses.PackedWeights(shape);

    /// <inheritdoc/>
    public override Layer? Fuse(Layer next) => next switch
    {
        ActivationLayer behind when activation == Activation.Identity => new ConvLayer(weight, bias, shape, OutputShape, behind.Activation),
        MaxPoolLayer { HalvesImages: true } behind when activation is Activation.Identity or Activation.Relu && Convolution.Pools(shape) =>
            new PooledConvLayer(weight, bias, shape, behind.OutputShape, activation == Activation.Relu),
        _ => null,
    };

    /// <summary>y (rows, y, x, out) = activation(conv(x (rows, y, x, channels), W) + b).</summary>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        Convolution.PackForward(shape, step.Weight(weight), node.Scratch);
        var epilogue = new GemmEpilogue(bias is null ? null : step.Weight(bias), activation);
        Convolution.Forward(shape, step.Rows, node.Input(), node.Scratch, node.Output, epilogue, step.Pool);
    }

    /// <summary>Through the activation, in place; then db and dW, which others wait for; then dx.</summary>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        float* dy = node.OutputGradient;
        if (activation != Activation.Identity)
        {
            Elementwise.ActivateBackward(activation, dy, node.Output, dy, (nint)step.Rows * OutputWidth, step.Pool);
        }

        GradientPlan plan = step.Plan!;
        if (bias is not null)
        {
            for (int j = 0; j < plan.NodeCount; j++)
            {
                Convolution.BiasGradient(shape, dy, plan.RangesOf(j), plan.LeafStartsOf(j), step.Gradient(bias, j), step.Pool);
            }

            step.Finished(bias);
        }

        for (int j = 0; j < plan.NodeCount; j++)
        {
            Convolution.WeightGradient(shape, dy, node.Input(), plan.RangesOf(j), plan.LeafStartsOf(j), step.Gradient(weight, j), step.Pool);
        }

        step.Finished(weight);
        if (node.InputGradient() == null) return;
        Convolution.PackData(shape, step.Weight(weight), node.Scratch);
        Convolution.DataGradient(shape, step.Rows, dy, node.Scratch, node.InputGradient(), default, step.Pool);
    }
}
