using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// The mean over positions: [time, features] becomes [features]. Positions of padding don't count, where the embedding
/// says which they are; a row of nothing else becomes 0. The sum goes over positions ascending, then one division.
/// </summary>
public sealed record MeanOverTimeSpec : LayerSpec
{
    internal const string Name = "mean_over_time";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override void Emit(LayerBuilder builder)
    {
        (int time, int features) = builder.Sequences();
        builder.AppendSequence(new MeanOverTimeLayer(time, features, builder.Lengths(time) is not null), time);
    }
}

/// <summary>The mean over the positions that count.</summary>
internal sealed unsafe class MeanOverTimeLayer(int time, int features, bool padded) : Layer([features])
{
    /// <inheritdoc/>
    public override long Flops => (long)time * features;

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        for (int row = 0; row < step.Rows; row++)
        {
            float* x = node.Input() + ((long)row * time * features);
            float* y = node.Output + ((long)row * features);
            int length = Length(node, row);
            Elementwise.Fill(y, features, 0);
            for (int t = 0; t < length; t++) Elementwise.Add(y, x + ((long)t * features), y, features);
            if (length > 0) Elementwise.Divide(length, y, y, features);
        }
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        if (node.InputGradient() == null) return;
        for (int row = 0; row < step.Rows; row++)
        {
            float* dx = node.InputGradient() + ((long)row * time * features);
            float* dy = node.OutputGradient + ((long)row * features);
            int length = Length(node, row);
            for (int t = 0; t < length; t++) Elementwise.Divide(length, dy, dx + ((long)t * features), features);
            Elementwise.Fill(dx + ((long)length * features), (nint)(time - length) * features, 0);
        }
    }

    private int Length(NodeBuffers node, int row) => padded ? ((int*)node.Input(1))[row] : time;
}
