using System.Collections.Immutable;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>An elementwise function whose derivative is taken from its output. Behind a dense layer it is fused into it.</summary>
/// <param name="activation">The function.</param>
/// <param name="shape">The shape of input and output.</param>
internal sealed unsafe class ActivationLayer(Activation activation, ImmutableArray<int> shape) : Layer(shape)
{
    /// <summary>The function.</summary>
    public Activation Activation { get; } = activation;

    /// <inheritdoc/>
    public override bool BackwardReadsOutput => true;

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step) =>
        Elementwise.Activate(Activation, node.Input(), node.Output, (nint)step.Rows * OutputWidth, step.Pool);

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        if (node.InputGradient() == null) return;
        Elementwise.ActivateBackward(
            Activation, node.OutputGradient, node.Output, node.InputGradient(), (nint)step.Rows * OutputWidth, step.Pool);
    }
}
