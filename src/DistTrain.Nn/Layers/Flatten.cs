namespace DistTrain.Nn;

/// <summary>
/// One row of values per example, whatever their shape was: [1, 28, 28] becomes [784]. Nothing moves: images that a layer gave
/// come pixel by pixel, value (y·width + x)·channels + channel, where PyTorch has them plane by plane; images straight from
/// the data come as the data has them.
/// </summary>
public sealed record FlattenSpec : LayerSpec
{
    internal const string Name = "flatten";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Layer Compile(LayerBuilder builder) => new ViewLayer([Shapes.Width(builder.Input)]);
}
