using System.Collections.Immutable;
using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>What the layers that branch have in common.</summary>
internal static class BranchReader
{
    /// <summary>Reads a list of layers, which may be empty.</summary>
    public static ImmutableArray<LayerSpec> Layers(ConfigNode node) => node.Kind == ConfigKind.List
        ? [.. node.Items.Select(LayerSpec.FromConfig)]
        : throw node.Error($"expected a list of layers, got {node.Describe()}");

    /// <summary>Reads a list of branches: <c>[[conv: …, relu], []]</c>.</summary>
    public static ImmutableArray<ImmutableArray<LayerSpec>> Branches(NamedChoice choice) => choice.Options.Kind == ConfigKind.List && choice.Options.Items.Count > 0
        ? [.. choice.Options.Items.Select(Layers)]
        : throw choice.Options.Error($"'{choice.Name}' takes a list of branches, each a list of layers, got {(choice.Options.Kind == ConfigKind.List ? "an empty list" : choice.Options.Describe())}");

    public static bool Same(ImmutableArray<ImmutableArray<LayerSpec>> a, ImmutableArray<ImmutableArray<LayerSpec>> b) =>
        a.Length == b.Length && a.Zip(b).All(pair => pair.First.SequenceEqual(pair.Second));

    /// <summary>Adds the branches to the network, named by their index.</summary>
    public static ImmutableArray<(int Value, ImmutableArray<int> Shape)> Emit(LayerBuilder builder, ImmutableArray<ImmutableArray<LayerSpec>> branches)
    {
        if (branches.IsDefaultOrEmpty) throw builder.Refuse("at least one branch", "list them, each as a list of layers");
        if (builder.Input.Length == 3) builder.Images();
        var results = ImmutableArray.CreateBuilder<(int, ImmutableArray<int>)>(branches.Length);
        for (int b = 0; b < branches.Length; b++) results.AddRange(builder.Network.Branches([branches[b]], string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{builder.Name}.{b}.")));
        return results.ToImmutable();
    }
}
