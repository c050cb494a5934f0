using System.Collections.Immutable;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>Max pooling; where each maximum was stays for the way back.</summary>
internal sealed unsafe class MaxPoolLayer(PoolingShape shape, ImmutableArray<int> outputShape) : Layer(outputShape)
{
    /// <inheritdoc/>
    public override long Flops => (long)OutputWidth * shape.KernelHeight * shape.KernelWidth;

    /// <summary>Whether windows are of 2x2 pixels, 2 apart, from the first on: what a convolution does at its end.</summary>
    public bool HalvesImages => shape is { KernelHeight: 2, KernelWidth: 2, StrideY: 2, StrideX: 2, PadTop: 0, PadLeft: 0, PadBottom: 0, PadRight: 0 };

    /// <summary>For each output which pixel of its window it was, as an int.</summary>
    public override Room Kept => new(OutputWidth);

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        bool back = step.Key.Training && node.InputGradient() != null;
        Pooling.Max(shape, step.Rows, node.Input(), node.Output, back ? (int*)node.Kept : null, step.Pool);
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        if (node.InputGradient() == null) return;
        Pooling.MaxGradient(shape, step.Rows, node.OutputGradient, (int*)node.Kept, node.InputGradient(), step.Pool);
    }
}

/// <summary>Average pooling.</summary>
internal sealed unsafe class AveragePoolLayer(PoolingShape shape, bool countPadding, ImmutableArray<int> outputShape) : Layer(outputShape)
{
    /// <inheritdoc/>
    public override long Flops => (long)OutputWidth * shape.KernelHeight * shape.KernelWidth;

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step) =>
        Pooling.Average(shape, step.Rows, node.Input(), node.Output, countPadding, step.Pool);

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        if (node.InputGradient() == null) return;
        Pooling.AverageGradient(shape, step.Rows, node.OutputGradient, node.InputGradient(), countPadding, step.Pool);
    }
}
