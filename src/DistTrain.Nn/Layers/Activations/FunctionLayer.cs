using System.Collections.Immutable;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>The elementwise functions that run as layers of their own; <see cref="Activation"/> has those that others take in.</summary>
internal enum Function
{
    LeakyRelu,
    Elu,
    Gelu,
    GeluTanh,
    Silu,
    Softplus,
}

/// <summary>An elementwise function whose derivative is taken from its input.</summary>
/// <param name="function">The function.</param>
/// <param name="parameter">Its slope or alpha, where it has one.</param>
/// <param name="shape">The shape of input and output.</param>
internal sealed unsafe class FunctionLayer(Function function, float parameter, ImmutableArray<int> shape) : Layer(shape)
{
    /// <inheritdoc/>
    public override bool BackwardReadsInput => function != Function.Elu;

    /// <inheritdoc/>
    public override bool BackwardReadsOutput => function == Function.Elu;

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        nint length = (nint)step.Rows * OutputWidth;
        switch (function)
        {
            case Function.LeakyRelu: Activations.LeakyRelu(parameter, node.Input(), node.Output, length, step.Pool); break;
            case Function.Elu: Activations.Elu(parameter, node.Input(), node.Output, length, step.Pool); break;
            case Function.Gelu: Activations.Gelu(node.Input(), node.Output, length, step.Pool); break;
            case Function.GeluTanh: Activations.GeluTanh(node.Input(), node.Output, length, step.Pool); break;
            case Function.Silu: Activations.Silu(node.Input(), node.Output, length, step.Pool); break;
            default: Activations.Softplus(node.Input(), node.Output, length, step.Pool); break;
        }
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        if (node.InputGradient() == null) return;
        nint length = (nint)step.Rows * OutputWidth;
        float* dy = node.OutputGradient, dx = node.InputGradient();
        switch (function)
        {
            case Function.LeakyRelu: Activations.LeakyReluBackward(parameter, dy, node.Input(), dx, length, step.Pool); break;
            case Function.Elu: Activations.EluBackward(parameter, dy, node.Output, dx, length, step.Pool); break;
            case Function.Gelu: Activations.GeluBackward(dy, node.Input(), dx, length, step.Pool); break;
            case Function.GeluTanh: Activations.GeluTanhBackward(dy, node.Input(), dx, length, step.Pool); break;
            case Function.Silu: Activations.SiluBackward(dy, node.Input(), dx, length, step.Pool); break;
            default: Activations.SoftplusBackward(dy, node.Input(), dx, length, step.Pool); break;
        }
    }
}
