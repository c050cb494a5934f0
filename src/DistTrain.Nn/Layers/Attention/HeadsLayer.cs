using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// Attention between the projections: (rows, time, 3, heads, width), which holds q, k and v, becomes (rows, time, heads,
/// width). See <see cref="Attention"/>.
/// </summary>
/// <param name="time">Positions.</param>
/// <param name="heads">How many.</param>
/// <param name="width">Values of a head.</param>
/// <param name="causal">Whether a position sees only itself and those before it.</param>
/// <param name="padded">Whether a second input has the rows' lengths.</param>
internal sealed unsafe class HeadsLayer(int time, int heads, int width, bool causal, bool padded) : Layer([time, heads * width])
{
    /// <inheritdoc/>
    public override long Flops => 4L * time * time * heads * width;

    /// <inheritdoc/>
    public override bool BackwardReadsInput => true;

    /// <inheritdoc/>
    public override bool BackwardReadsOutput => true;

    /// <summary>The logarithms of the softmax's sums, (rows, heads, time).</summary>
    public override Room Kept => new((long)heads * time);

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        AttentionShape shape = Shape(node, step);
        Attention.Forward(
            in shape, Part(node.Input(), 0), Part(node.Input(), 1), Part(node.Input(), 2), Whole(node.Output), node.Kept, step.Pool);
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        float* dx = node.InputGradient();
        if (dx == null) return;
        AttentionShape shape = Shape(node, step);
        Attention.Backward(
            in shape, Part(node.Input(), 0), Part(node.Input(), 1), Part(node.Input(), 2), Whole(node.Output), node.Kept,
            Whole(node.OutputGradient), Part(dx, 0), Part(dx, 1), Part(dx, 2), step.Pool);
    }

    private AttentionShape Shape(NodeBuffers node, StepContext step) => new()
    {
        Batch = step.Rows,
        Heads = heads,
        Queries = time,
        Keys = time,
        Width = width,
        Scale = 1 / MathF.Sqrt(width),
        Causal = causal,
        Lengths = padded ? (int*)node.Input(1) : null,
    };

    private HeadsView Part(float* x, int part)
    {
        nint features = (nint)heads * width;
        return new(x + (part * features), time * 3 * features, 3 * features, width);
    }

    private HeadsView Whole(float* x) => HeadsView.Contiguous(x, time, heads, width);
}
