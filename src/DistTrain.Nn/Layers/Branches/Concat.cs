using System.Collections.Immutable;
using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>
/// Branches that all read the same value, side by side in the order given: channels of images [channels, height, width],
/// features of sequences [time, features] or of rows [n]; all other sizes are the same (Szegedy et al., 2015, 'Going deeper
/// with convolutions'). A branch without layers is the value itself. Tensors are called as those of <see cref="SumSpec"/>.
/// </summary>
/// <param name="Branches">The branches, each from its first layer to its last.</param>
public sealed record ConcatSpec(ImmutableArray<ImmutableArray<LayerSpec>> Branches) : LayerSpec
{
    internal const string Name = "concat";

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <summary>Whether both have the same branches.</summary>
    public bool Equals(ConcatSpec? other) => other is not null && BranchReader.Same(Branches, other.Branches);

    /// <inheritdoc/>
    public override int GetHashCode() => Branches.Length;

    internal static ConcatSpec Read(NamedChoice choice) => new(BranchReader.Branches(choice));

    internal override void Emit(LayerBuilder builder)
    {
        ImmutableArray<(int Value, ImmutableArray<int> Shape)> branches = BranchReader.Emit(builder, Branches);
        ImmutableArray<int> first = branches[0].Shape;
        int axis = first.Length == 2 ? 1 : 0;
        if (first.Length > 3 || branches.Any(b => b.Shape.Length != first.Length || !b.Shape.SetItem(axis, 0).SequenceEqual(first.SetItem(axis, 0))))
            throw builder.Refuse($"branches that differ in channels only (they give {string.Join(", ", branches.Select(b => Shapes.Text(b.Shape)))})", "pad or pool them alike");
        ImmutableArray<int> channels = [.. branches.Select(b => b.Shape[axis])];
        builder.Network.Join(
            new ConcatLayer(first.SetItem(axis, channels.Sum()), channels), [.. branches.Select(b => b.Value)], builder.Name, Kind);
    }
}

/// <summary>Several values side by side: at each position the channels of the first, then those of the second, …</summary>
internal sealed unsafe class ConcatLayer(ImmutableArray<int> shape, ImmutableArray<int> channels) : Layer(shape)
{
    private readonly int _all = channels.Sum();

    /// <inheritdoc/>
    public override long Flops => 0;

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        nint positions = (nint)step.Rows * (OutputWidth / _all);
        float* to = node.Output;
        for (int i = 0; i < channels.Length; to += channels[i++]) Copy(node.Input(i), channels[i], to, _all, channels[i], positions);
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        nint positions = (nint)step.Rows * (OutputWidth / _all);
        float* from = node.OutputGradient;
        for (int i = 0; i < channels.Length; from += channels[i++])
        {
            if (node.InputGradient(i) != null) Copy(from, _all, node.InputGradient(i), channels[i], channels[i], positions);
        }
    }

    private static void Copy(float* from, nint strideFrom, float* to, nint strideTo, int count, nint positions)
    {
        for (nint p = 0; p < positions; p++)
        {
            new ReadOnlySpan<float>(from + (p * strideFrom), count).CopyTo(new Span<float>(to + (p * strideTo), count));
        }
    }
}
