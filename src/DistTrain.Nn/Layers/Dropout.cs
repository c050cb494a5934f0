using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// In training each value is 0 with probability rate, else divided by 1 − rate (Srivastava et al., 2014, 'Dropout'); in use
/// y = x. Which ones fall depends on seed, layer, step, the example's position in the mini-batch and the element alone.
/// </summary>
/// <param name="Rate">The probability, from 0 to below 1.</param>
public sealed record DropoutSpec(double Rate = 0.5) : LayerSpec
{
    internal const string Name = "dropout";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static DropoutSpec Read(NamedChoice choice)
    {
        ConfigNode? rate = choice.HasMainValue ? choice.Options : choice.Options.Find("rate");
        var spec = new DropoutSpec(rate?.AsNumber(0, 1) ?? 0.5);
        if (spec.Rate >= 1) throw rate!.Error("1 would drop everything: expected a rate below 1");
        choice.RefuseUnknown();
        return spec;
    }

    internal override Layer Compile(LayerBuilder builder)
    {
        if (Rate is not (>= 0 and < 1)) throw builder.Refuse("a rate from 0 to below 1", $"it is {Rate}");
        return Rate == 0 ? new ViewLayer(builder.Input) : new DropoutLayer(builder.Input, (float)Rate, builder.Network.Summary.Count);
    }
}

/// <summary>Dropout, its mask kept as bits.</summary>
/// <param name="shape">The shape of input and output.</param>
/// <param name="rate">The probability of 0.</param>
/// <param name="place">The layer's place in the model, which keeps its numbers apart from other layers'.</param>
internal sealed unsafe class DropoutLayer(ImmutableArray<int> shape, float rate, int place) : Layer(shape)
{
    // "D": keeps these numbers apart from those of other purposes under the same seed.
    private const uint Purpose = 0x44000000;

    /// <summary>A bit for each value, rounded up to whole words.</summary>
    public override Room Kept => new(Dropout.MaskWords(OutputWidth));

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        if (!step.Key.Training)
        {
            Elementwise.Copy(node.Input(), node.Output, (nint)step.Rows * OutputWidth, step.Pool);
            return;
        }

        GradientPlan plan = PositionRanges.Shards(step, DropoutSpec.Name);
        var random = new KeyedRandom(step.Key.Seed, Purpose + (uint)place);
        for (int leaf = 0; leaf < plan.LeafCount; leaf++)
        {
            KRange rows = plan.Ranges[leaf];
            long at = (long)rows.Start * OutputWidth;
            Dropout.Forward(
                random, (ulong)step.Key.Step, (ulong)plan.LeafPositions[leaf], node.Input() + at, rows.Count, OutputWidth, rate, node.Output + at,
                (uint*)node.Kept + (rows.Start * Dropout.MaskWords(OutputWidth)), step.Pool);
        }
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        if (node.InputGradient() == null) return;
        Dropout.Apply((uint*)node.Kept, node.OutputGradient, step.Rows, OutputWidth, rate, node.InputGradient(), step.Pool);
    }
}
