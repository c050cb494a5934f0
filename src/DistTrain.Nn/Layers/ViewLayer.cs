using System.Collections.Immutable;

namespace DistTrain.Nn;

/// <summary>Another shape for the same memory: forward and backward have nothing to do.</summary>
internal sealed class ViewLayer(ImmutableArray<int> outputShape) : Layer(outputShape)
{
    /// <inheritdoc/>
    public override bool IsView => true;

    /// <inheritdoc/>
    public override long Flops => 0;

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
    }
}
