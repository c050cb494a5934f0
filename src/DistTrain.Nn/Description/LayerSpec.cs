using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>
/// The description of one layer: what a job's YAML or a C# program says of it. Immutable; sizes that can be inferred
/// are left out, and <see cref="Model.Build"/> works them out.
/// </summary>
public abstract record LayerSpec
{
    /// <summary>The layer's name in a job: <c>dense</c>, <c>relu</c>.</summary>
    public abstract string Kind { get; }

    /// <summary>
    /// Reads a layer: <c>relu</c>, <c>{ dense: 10 }</c> or <c>{ dense: { out: 10, init: he_normal } }</c>.
    /// </summary>
    /// <exception cref="Core.DistTrainException">The layer is unknown (with the nearest spelling), or an option is wrong.</exception>
    public static LayerSpec FromConfig(ConfigNode node) => LayerCatalog.Read(node);

    /// <summary>Adds the layer, or the layers that it stands for, to the network.</summary>
    internal virtual void Emit(LayerBuilder builder) => builder.Append(Compile(builder));

    /// <summary>Makes the layer for an input shape, or says why it can't be. Descriptions of several layers have <see cref="Emit"/>.</summary>
    internal virtual Layer Compile(LayerBuilder builder) => throw new InvalidOperationException($"{Kind} stands for several layers.");
}
