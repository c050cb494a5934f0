namespace DistTrain.Nn;

/// <summary>y = x.</summary>
public sealed record IdentitySpec : LayerSpec
{
    internal const string Name = "identity";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Layer Compile(LayerBuilder builder) => new ViewLayer(builder.Input);
}
