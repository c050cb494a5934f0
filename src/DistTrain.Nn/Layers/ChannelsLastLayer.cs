using System.Collections.Immutable;

namespace DistTrain.Nn;

/// <summary>Puts the channels of images last in memory: (channels, pixels) becomes (pixels, channels) within each row.</summary>
/// <param name="shape">[channels, height, width].</param>
internal sealed unsafe class ChannelsLastLayer(ImmutableArray<int> shape) : Layer(shape)
{
    /// <inheritdoc/>
    public override long Flops => 0;

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        int channels = OutputShape[0], pixels = OutputShape[1] * OutputShape[2];
        for (long row = 0; row < step.Rows; row++)
        {
            Transpose(node.Input() + (row * OutputWidth), channels, pixels, node.Output + (row * OutputWidth));
        }
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        if (node.InputGradient() == null) return;
        int channels = OutputShape[0], pixels = OutputShape[1] * OutputShape[2];
        for (long row = 0; row < step.Rows; row++)
        {
            Transpose(node.OutputGradient + (row * OutputWidth), pixels, channels, node.InputGradient() + (row * OutputWidth));
        }
    }

    private static void Transpose(float* from, int rows, int columns, float* to)
    {
        for (int r = 0; r < rows; r++)
        {
            for (int c = 0; c < columns; c++) to[((long)c * rows) + r] = from[((long)r * columns) + c];
        }
    }
}
