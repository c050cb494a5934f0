using System.Collections.Immutable;
using KernelSoftmax = DistTrain.Kernels.Softmax;

namespace DistTrain.Nn;

/// <summary>
/// y_i = e^x_i / Σ e^x_j over the values of an example, or over the channels of each time step or pixel. The losses that take
/// a softmax have their own: don't put one before them.
/// </summary>
public sealed record SoftmaxSpec : LayerSpec
{
    internal const string Name = "softmax";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Layer Compile(LayerBuilder builder)
    {
        (int positions, int channels) = builder.Channels();
        return new SoftmaxLayer(builder.Input, positions, channels, logarithm: false);
    }
}

/// <summary>y_i = x_i − ln Σ e^x_j, over the same values as <see cref="SoftmaxSpec"/>.</summary>
public sealed record LogSoftmaxSpec : LayerSpec
{
    internal const string Name = "log_softmax";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Layer Compile(LayerBuilder builder)
    {
        (int positions, int channels) = builder.Channels();
        return new SoftmaxLayer(builder.Input, positions, channels, logarithm: true);
    }
}

/// <summary>Softmax or its logarithm.</summary>
internal sealed unsafe class SoftmaxLayer(ImmutableArray<int> shape, int positions, int channels, bool logarithm) : Layer(shape)
{
    /// <inheritdoc/>
    public override long Flops => 4L * OutputWidth;

    /// <inheritdoc/>
    public override bool BackwardReadsOutput => true;

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        nint rows = (nint)step.Rows * positions;
        if (logarithm) KernelSoftmax.LogForward(node.Input(), rows, channels, node.Output, step.Pool);
        else KernelSoftmax.Forward(node.Input(), rows, channels, node.Output, step.Pool);
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        if (node.InputGradient() == null) return;
        nint rows = (nint)step.Rows * positions;
        if (logarithm) KernelSoftmax.LogBackward(node.OutputGradient, node.Output, rows, channels, node.InputGradient(), step.Pool);
        else KernelSoftmax.Backward(node.OutputGradient, node.Output, rows, channels, node.InputGradient(), step.Pool);
    }
}
