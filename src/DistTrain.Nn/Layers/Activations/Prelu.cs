using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Core.Layout;
using DistTrain.Kernels;
using KernelPrelu = DistTrain.Kernels.Prelu;

namespace DistTrain.Nn;

/// <summary>
/// y = x above zero, else weight·x, with a weight [1] that is trained, or [channels] (He et al., 2015, 'Delving deep into
/// rectifiers'). Weight decay leaves it alone. Channels are the values of [n], the features of [time, features], the channels
/// of images.
/// </summary>
/// <param name="PerChannel">Whether each channel has a weight of its own.</param>
/// <param name="Init">weight's first values; null for 0.25.</param>
public sealed record PreluSpec(bool PerChannel = false, Initialiser? Init = null) : LayerSpec
{
    internal const string Name = "prelu";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static PreluSpec Read(NamedChoice choice)
    {
        var spec = new PreluSpec(choice.Options.Flag("per_channel", false), Initialiser.Read(choice.Options, "init"));
        choice.RefuseUnknown();
        return spec;
    }

    internal override Layer Compile(LayerBuilder builder)
    {
        (int positions, int channels) = PerChannel ? builder.Channels() : (1, 1);
        Parameter weight = builder.Declare("weight", [channels], Init ?? Initialisers.Constant(0.25), channels, channels, TensorRole.Undecayed);
        return new PreluLayer(builder.Input, positions, channels, weight);
    }
}

/// <summary>PReLU over (positions, channels, inner).</summary>
internal sealed unsafe class PreluLayer(ImmutableArray<int> shape, int positions, int channels, Parameter weight) : Layer(shape)
{
    private readonly int _inner = Shapes.Width(shape) / positions / channels;

    /// <inheritdoc/>
    public override ImmutableArray<Parameter> Parameters { get; } = [weight];

    /// <inheritdoc/>
    public override bool BackwardReadsInput => true;

    /// <summary>The ranges of positions.</summary>
    public override Room Scratch => new(0, PerLeaf: PositionRanges.PerLeaf);

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step) =>
        KernelPrelu.Forward(node.Input(), step.Weight(weight), (nint)step.Rows * positions, channels, _inner, node.Output, step.Pool);

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        GradientPlan plan = step.Plan!;
        for (int j = 0; j < plan.NodeCount; j++)
        {
            KernelPrelu.SlopeGradient(
                node.OutputGradient, node.Input(), channels, _inner, PositionRanges.Of(plan, j, positions, node.Scratch), plan.LeafStartsOf(j),
                step.Gradient(weight, j), step.Pool);
        }

        step.Finished(weight);
        if (node.InputGradient() == null) return;
        KernelPrelu.InputGradient(
            node.OutputGradient, node.Input(), step.Weight(weight), (nint)step.Rows * positions, channels, _inner, node.InputGradient(), step.Pool);
    }
}
