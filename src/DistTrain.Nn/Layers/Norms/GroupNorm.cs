using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Core.Layout;
using DistTrain.Kernels;
using KernelGroupNorm = DistTrain.Kernels.GroupNorm;

namespace DistTrain.Nn;

/// <summary>
/// Group normalisation (Wu and He, 2018): an example's channels are normalised in groups of neighbours over all positions, then
/// scaled by weight [channels] and shifted by bias [channels]. One group is layer norm of whole examples, as many groups as
/// channels instance norm. Takes [n], [time, channels] and [channels, height, width].
/// </summary>
/// <param name="Groups">How many groups; they divide the channels.</param>
/// <param name="Epsilon">Added to the variance.</param>
public sealed record GroupNormSpec(int Groups, double Epsilon = 1e-5) : LayerSpec
{
    internal const string Name = "group_norm";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static GroupNormSpec Read(NamedChoice choice)
    {
        if (choice.HasMainValue) return new GroupNormSpec((int)choice.Options.AsInteger(1, int.MaxValue));
        var spec = new GroupNormSpec((int)choice.Options.Require("groups").AsInteger(1, int.MaxValue), choice.Options.Number("epsilon", 1e-5, 0));
        choice.RefuseUnknown();
        return spec;
    }

    internal override Layer Compile(LayerBuilder builder)
    {
        (int positions, int channels) = builder.Channels();
        if (Groups < 1 || channels % Groups != 0) throw builder.Refuse($"channels that {Groups} groups divide", $"there are {channels}");
        return new GroupNormLayer(
            builder.Input, positions, channels, Groups, (float)Epsilon,
            builder.Declare("weight", [channels], Initialisers.Constant(1), channels, channels, TensorRole.Undecayed),
            builder.Declare("bias", [channels], Initialisers.Zeros, channels, channels, TensorRole.Undecayed));
    }
}

/// <summary>Group norm.</summary>
internal sealed unsafe class GroupNormLayer(
    ImmutableArray<int> shape, int positions, int channels, int groups, float epsilon, Parameter weight, Parameter bias) : Layer(shape)
{
    /// <inheritdoc/>
    public override ImmutableArray<Parameter> Parameters { get; } = [weight, bias];

    /// <inheritdoc/>
    public override long Flops => 8L * OutputWidth;

    /// <inheritdoc/>
    public override bool BackwardReadsInput => true;

    /// <summary>For each example the groups' means and 1 / √(variance + ε).</summary>
    public override Room Kept => new(2L * groups);

    /// <summary>The ranges of examples.</summary>
    public override Room Scratch => new(0, PerLeaf: PositionRanges.PerLeaf);

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step) => KernelGroupNorm.Forward(
        node.Input(), step.Rows, positions, channels, groups, step.Weight(weight), step.Weight(bias), epsilon, node.Output,
        node.Kept, node.Kept + ((long)step.Rows * groups), step.Pool);

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        GradientPlan plan = step.Plan!;
        float* dx = node.InputGradient() == null ? node.OutputGradient : node.InputGradient();
        for (int j = 0; j < plan.NodeCount; j++)
        {
            // The kernel writes the gradients of all examples that it is given: those of this node.
            int first = plan.LeafRows[plan.NodeLeaves[j]], count = plan.LeafRows[plan.NodeLeaves[j + 1]] - first;
            long at = (long)first * OutputWidth;
            float* means = node.Kept + ((long)first * groups);
            KernelGroupNorm.Backward(
                node.OutputGradient + at, node.Input() + at, count, positions, channels, groups, step.Weight(weight), means, means + ((long)step.Rows * groups),
                PositionRanges.Of(plan, j, 1, node.Scratch, first), plan.LeafStartsOf(j), dx + at, step.Gradient(weight, j), step.Gradient(bias, j), step.Pool);
        }

        step.Finished(bias);
        step.Finished(weight);
    }
}
