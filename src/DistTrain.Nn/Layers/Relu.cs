using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>y = max(x, 0).</summary>
public sealed record ReluSpec : LayerSpec
{
    internal const string Name = "relu";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Layer Compile(LayerBuilder builder) => new ActivationLayer(Activation.Relu, builder.Input);
}
