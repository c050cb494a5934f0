using System.Collections.Immutable;
using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>The description of a network: its layers from the input to the output.</summary>
/// <param name="Layers">The layers; each takes what the one before it gives.</param>
/// <example>
/// <code>
/// var spec = new ModelSpec([Layers.Flatten(), Layers.Dense(64), Layers.Relu(), Layers.Dense(10)]);
/// </code>
/// </example>
public sealed record ModelSpec(ImmutableArray<LayerSpec> Layers)
{
    /// <summary>Reads a model from a job's list of layers.</summary>
    /// <exception cref="Core.DistTrainException">It is no list, it is empty, or a layer is wrong.</exception>
    public static ModelSpec FromConfig(ConfigNode listNode)
    {
        if (listNode.Kind != ConfigKind.List || listNode.Items.Count == 0)
        {
            throw listNode.Error($"expected a list of layers from the input to the output, got {(listNode.Kind == ConfigKind.List ? "an empty list" : listNode.Describe())}");
        }

        return new([.. listNode.Items.Select(LayerSpec.FromConfig)]);
    }

    /// <summary>Two models are the same when their layers are, in order.</summary>
    public bool Equals(ModelSpec? other) => other is not null && Layers.SequenceEqual(other.Layers);

    /// <inheritdoc/>
    public override int GetHashCode() => Layers.Aggregate(0, HashCode.Combine);
}
