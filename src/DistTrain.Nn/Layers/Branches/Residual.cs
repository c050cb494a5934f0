using System.Collections.Immutable;
using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>
/// y = shortcut(x) + f(x), the shortcut being x itself when none is given (He et al., 2016, 'Deep residual learning'). Both
/// give the same shape. Tensors are called 3.0.weight for the first layer of f of layer 3, and 3.shortcut.0.weight.
/// </summary>
/// <param name="Layers">f.</param>
/// <param name="Shortcut">What x goes through on the other way; none for x itself.</param>
public sealed record ResidualSpec(ImmutableArray<LayerSpec> Layers, ImmutableArray<LayerSpec> Shortcut) : LayerSpec
{
    internal const string Name = "residual";

    /// <summary>y = x + f(x).</summary>
    public ResidualSpec(ImmutableArray<LayerSpec> layers)
        : this(layers, [])
    {
    }

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <summary>Whether both have the same layers.</summary>
    public bool Equals(ResidualSpec? other) => other is not null && Layers.SequenceEqual(other.Layers) && Shortcut.SequenceEqual(other.Shortcut);

    /// <inheritdoc/>
    public override int GetHashCode() => Layers.Aggregate(0, HashCode.Combine);

    internal static ResidualSpec Read(NamedChoice choice)
    {
        if (choice.Options.Kind == ConfigKind.List) return new ResidualSpec(BranchReader.Layers(choice.Options));
        var spec = new ResidualSpec(
            BranchReader.Layers(choice.Options.Require("layers")),
            choice.Options.Find("shortcut") is { } shortcut ? BranchReader.Layers(shortcut) : []);
        choice.RefuseUnknown();
        return spec;
    }

    internal override void Emit(LayerBuilder builder)
    {
        if (builder.Input.Length == 3) builder.Images();
        if (Layers.IsEmpty) throw builder.Refuse("at least one layer of its own", "list what is added to the input");
        (int value, ImmutableArray<int> shape) = builder.Network.Branches([Layers], $"{builder.Name}.")[0];
        (int other, ImmutableArray<int> otherShape) = builder.Network.Branches([Shortcut], $"{builder.Name}.shortcut.")[0];
        if (!shape.SequenceEqual(otherShape))
            throw builder.Refuse($"layers and shortcut of one shape (they give {Shapes.Text(shape)} and {Shapes.Text(otherShape)})", "give it a 'shortcut' such as a 1x1 'conv' with the same stride");
        builder.Network.Join(new SumLayer(shape, 2), [other, value], builder.Name, Kind);
    }
}
