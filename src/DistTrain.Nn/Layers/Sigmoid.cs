using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>y = 1 / (1 + e^-x).</summary>
public sealed record SigmoidSpec : LayerSpec
{
    internal const string Name = "sigmoid";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Layer Compile(LayerBuilder builder) => new ActivationLayer(Activation.Sigmoid, builder.Input);
}
