using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// Attention between the projections: (rows, time, 3, heads, width), which holds q, k and v, becomes (rows, time, heads,
/// width). See <see cref="Attention"/>.
/// </summary>
/// <param name="time">Positions.</param>
/// <param name="heads">How many.</param>
/// <param name="width">Values of a head.</param>
/// <param name="padded">Whether a second input has the rows' lengths.</param>
internal sealed unsafe class HeadsLayer(int time, int heads, int width, bool padded) : Layer([time, heads * width])
{
    // "T": keeps these numbers apart from those of other purposes under the same seed.
    private const uint Purpose = 0x54000000;

    /// <summary>Whether a position sees only itself and those before it.</summary>
    public bool Causal { get; init; }

    /// <summary>How far a position sees; null for all.</summary>
    public int? Window { get; init; }

    /// <summary>The probability that a weight is dropped in training.</summary>
    public float Dropout { get; init; }

    /// <summary>The layer's place in the model, which keeps its random numbers apart from other layers'.</summary>
    public int Place { get; init; }

    /// <inheritdoc/>
    public override long Flops => 4L * time * Math.Min(time, Window is { } window ? (Causal ? window : (2L * window) - 1) : time) * heads * width;

    /// <inheritdoc/>
    public override bool BackwardReadsInput => true;

    /// <inheritdoc/>
    public override bool BackwardReadsOutput => true;

    /// <summary>The logarithms of the softmax's sums, (rows, heads, time).</summary>
    public override Room Kept => new((long)heads * time);

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        for (int slice = 0; slice < Slices(step); slice++)
        {
            AttentionShape shape = Shape(node, step, slice, out long row);
            float* x = node.Input() + (row * 3 * OutputWidth);
            Attention.Forward(
                in shape, Part(x, 0), Part(x, 1), Part(x, 2), Whole(node.Output + (row * OutputWidth)), node.Kept + (row * heads * time), step.Pool);
        }
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        if (node.InputGradient() == null) return;
        for (int slice = 0; slice < Slices(step); slice++)
        {
            AttentionShape shape = Shape(node, step, slice, out long row);
            float* x = node.Input() + (row * 3 * OutputWidth), dx = node.InputGradient() + (row * 3 * OutputWidth);
            Attention.Backward(
                in shape, Part(x, 0), Part(x, 1), Part(x, 2), Whole(node.Output + (row * OutputWidth)), node.Kept + (row * heads * time),
                Whole(node.OutputGradient + (row * OutputWidth)), Part(dx, 0), Part(dx, 1), Part(dx, 2), step.Pool);
        }
    }

    private bool Drops(StepContext step) => Dropout > 0 && step.Key.Training;

    // Rows of one shard have their places in the mini-batch one after the other; without dropout places don't matter.
    private int Slices(StepContext step) => Drops(step) ? PositionRanges.Shards(step, AttentionSpec.Name).LeafCount : 1;

    private AttentionShape Shape(NodeBuffers node, StepContext step, int slice, out long row)
    {
        KRange rows = Drops(step) ? step.Plan!.Ranges[slice] : new KRange(0, step.Rows);
        row = rows.Start;
        return new()
        {
            Batch = rows.Count,
            Heads = heads,
            Queries = time,
            Keys = time,
            Width = width,
            Scale = 1 / MathF.Sqrt(width),
            Causal = Causal,
            Window = Window ?? 0,
            Lengths = padded ? (int*)node.Input(1) + rows.Start : null,
            Dropout = Drops(step)
                ? new AttentionDropout(new KeyedRandom(step.Key.Seed, Purpose + (uint)Place), (ulong)step.Key.Step, (ulong)step.Plan!.LeafPositions[slice], Dropout)
                : default,
        };
    }

    private HeadsView Part(float* x, int part)
    {
        nint features = (nint)heads * width;
        return new(x + (part * features), time * 3 * features, 3 * features, width);
    }

    private HeadsView Whole(float* x) => HeadsView.Contiguous(x, time, heads, width);
}
