using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// Layer normalisation (Ba, Kiros and Hinton, 2016): each example's values, or each time step's or pixel's channels, with mean
/// 0 and variance 1, then scaled by weight [channels] and shifted by bias [channels]. Takes [n], [time, channels] and
/// [channels, height, width]; whole images are normalised by <see cref="GroupNormSpec"/> with one group.
/// </summary>
/// <param name="Epsilon">Added to the variance.</param>
public sealed record LayerNormSpec(double Epsilon = 1e-5) : LayerSpec
{
    internal const string Name = "layer_norm";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static LayerNormSpec Read(NamedChoice choice)
    {
        var spec = new LayerNormSpec(choice.Options.Number("epsilon", 1e-5, 0));
        choice.RefuseUnknown();
        return spec;
    }

    internal override Layer Compile(LayerBuilder builder)
    {
        (int positions, int channels) = builder.Channels();
        return new RowNormLayer(
            builder.Input, positions, channels, (float)Epsilon,
            builder.Declare("weight", [channels], Initialisers.Constant(1), channels, channels, TensorRole.Undecayed),
            builder.Declare("bias", [channels], Initialisers.Zeros, channels, channels, TensorRole.Undecayed));
    }
}

/// <summary>
/// RMS normalisation (Zhang and Sennrich, 2019): x / √(mean of x² + ε), scaled by weight [channels]; over the same values as
/// <see cref="LayerNormSpec"/>.
/// </summary>
/// <param name="Epsilon">Added to the mean square.</param>
public sealed record RmsNormSpec(double Epsilon = 1e-6) : LayerSpec
{
    internal const string Name = "rms_norm";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static RmsNormSpec Read(NamedChoice choice)
    {
        var spec = new RmsNormSpec(choice.Options.Number("epsilon", 1e-6, 0));
        choice.RefuseUnknown();
        return spec;
    }

    internal override Layer Compile(LayerBuilder builder)
    {
        (int positions, int channels) = builder.Channels();
        Parameter weight = builder.Declare("weight", [channels], Initialisers.Constant(1), channels, channels, TensorRole.Undecayed);
        return new RowNormLayer(builder.Input, positions, channels, (float)Epsilon, weight, null);
    }
}

/// <summary>Layer norm, or without a bias RMS norm.</summary>
internal sealed unsafe class RowNormLayer(
    ImmutableArray<int> shape, int positions, int channels, float epsilon, Parameter weight, Parameter? bias) : Layer(shape)
{
    /// <inheritdoc/>
    public override ImmutableArray<Parameter> Parameters { get; } = bias is null ? [weight] : [weight, bias];

    /// <inheritdoc/>
    public override long Flops => 8L * OutputWidth;

    /// <inheritdoc/>
    public override bool BackwardReadsInput => true;

    /// <summary>For each position 1 / √(variance + ε), and for layer norm the mean.</summary>
    public override Room Kept => new((bias is null ? 1L : 2L) * positions);

    /// <summary>The ranges of positions.</summary>
    public override Room Scratch => new(0, PerLeaf: PositionRanges.PerLeaf);

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        nint rows = (nint)step.Rows * positions;
        float* w = step.Weight(weight);
        if (bias is null) RmsNorm.Forward(node.Input(), rows, channels, w, epsilon, node.Output, node.Kept, step.Pool);
        else LayerNorm.Forward(node.Input(), rows, channels, w, step.Weight(bias), epsilon, node.Output, node.Kept + rows, node.Kept, step.Pool);
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        GradientPlan plan = step.Plan!;
        nint rows = (nint)step.Rows * positions;
        float* dx = node.InputGradient() == null ? node.OutputGradient : node.InputGradient();
        for (int j = 0; j < plan.NodeCount; j++)
        {
            ReadOnlySpan<KRange> ranges = PositionRanges.Of(plan, j, positions, node.Scratch);
            if (bias is null)
            {
                RmsNorm.Backward(
                    node.OutputGradient, node.Input(), channels, step.Weight(weight), node.Kept, ranges, plan.LeafStartsOf(j), dx, step.Gradient(weight, j), step.Pool);
                continue;
            }

            LayerNorm.Backward(
                node.OutputGradient, node.Input(), channels, step.Weight(weight), node.Kept + rows, node.Kept,
                ranges, plan.LeafStartsOf(j), dx, step.Gradient(weight, j), step.Gradient(bias, j), step.Pool);
        }

        if (bias is not null) step.Finished(bias);
        step.Finished(weight);
    }
}
