namespace DistTrain.Nn;

/// <summary>One row of values per example, whatever their shape was: [1, 28, 28] becomes [784].</summary>
public sealed record FlattenSpec : LayerSpec
{
    internal const string Name = "flatten";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Layer Compile(LayerBuilder builder) => new ViewLayer([Shapes.Width(builder.Input)]);
}
