using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>y = tanh x.</summary>
public sealed record TanhSpec : LayerSpec
{
    internal const string Name = "tanh";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Layer Compile(LayerBuilder builder) => new ActivationLayer(Activation.Tanh, builder.Input);
}
