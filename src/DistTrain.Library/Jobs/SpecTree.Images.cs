using System.Collections.Immutable;
using System.Globalization;
using DistTrain.Nn;
using static DistTrain.Jobs.JobTree;

namespace DistTrain.Jobs;

/// <summary>Convolutions, poolings, norms, activations and branches.</summary>
internal static partial class SpecTree
{
    private static YamlTree? OfOptions(LayerSpec layer) => layer switch
    {
        ConvSpec conv => Map(
            ("out", Number(conv.Out)),
            ("kernel", Of(conv.Kernel)),
            ("stride", Of(conv.Stride)),
            ("padding", Of(conv.Padding)),
            ("dilation", Of(conv.Dilation)),
            ("groups", Number(conv.Groups)),
            ("bias", Flag(conv.Bias)),
            ("init", Of(conv.Init)),
            ("bias_init", Of(conv.BiasInit))),
        Conv1dSpec conv => Map(
            ("out", Number(conv.Out)),
            ("kernel", Number(conv.Kernel)),
            ("stride", Number(conv.Stride)),
            ("padding", conv.Padding.Kind == PaddingKind.Pixels ? Number(conv.Padding.Pixels.X) : Of(conv.Padding)),
            ("dilation", Number(conv.Dilation)),
            ("groups", Number(conv.Groups)),
            ("bias", Flag(conv.Bias)),
            ("init", Of(conv.Init)),
            ("bias_init", Of(conv.BiasInit))),
        ConvTransposeSpec conv => Map(
            ("out", Number(conv.Out)),
            ("kernel", Of(conv.Kernel)),
            ("stride", Of(conv.Stride)),
            ("padding", Of(conv.Padding)),
            ("output_padding", Of(conv.OutputPadding)),
            ("dilation", Of(conv.Dilation)),
            ("groups", Number(conv.Groups)),
            ("bias", Flag(conv.Bias)),
            ("init", Of(conv.Init)),
            ("bias_init", Of(conv.BiasInit))),
        MaxPoolSpec pool => Map(
            ("kernel", Of(pool.Kernel)),
            ("stride", pool.Stride is { } stride ? Of(stride) : null),
            ("padding", Of(pool.Padding))),
        AveragePoolSpec pool => Map(
            ("kernel", Of(pool.Kernel)),
            ("stride", pool.Stride is { } stride ? Of(stride) : null),
            ("padding", Of(pool.Padding)),
            ("count_padding", Flag(pool.CountPadding))),
        BatchNormSpec norm => Map(("momentum", Number(norm.Momentum)), ("epsilon", Number(norm.Epsilon))),
        LayerNormSpec norm => Map(("epsilon", Number(norm.Epsilon))),
        GroupNormSpec norm => Map(("groups", Number(norm.Groups)), ("epsilon", Number(norm.Epsilon))),
        RmsNormSpec norm => Map(("epsilon", Number(norm.Epsilon))),
        DropoutSpec dropout => Map(("rate", Number(dropout.Rate))),
        LeakyReluSpec relu => Map(("slope", Number(relu.Slope))),
        EluSpec elu => Map(("alpha", Number(elu.Alpha))),
        GeluSpec gelu => Map(("form", Text(gelu.Tanh ? "tanh" : "erf"))),
        PreluSpec prelu => Map(("per_channel", Flag(prelu.PerChannel)), ("init", Of(prelu.Init))),
        _ => null,
    };

    private static YamlTree OfShapeOrBranches(LayerSpec layer) => layer switch
    {
        ResidualSpec residual => Map(("layers", Of(residual.Layers)), ("shortcut", Of(residual.Shortcut))),
        SumSpec sum => List(sum.Branches.Select(Of)),
        ConcatSpec concat => List(concat.Branches.Select(Of)),
        ReshapeSpec reshape => Map(("to", List(reshape.To.Select(size => Number(size)!))), ("channels_last", Flag(reshape.ChannelsLast))),
        _ => throw Unknown(layer),
    };

    private static YamlTree Of(ImmutableArray<LayerSpec> layers) => List(layers.Select(Of));

    private static YamlTree Of(Size2 size) => size.Y == size.X ? Number(size.Y)! : List([Number(size.Y)!, Number(size.X)!]);

    private static YamlTree Of(Padding padding) => padding.Kind == PaddingKind.Pixels ? Of(padding.Pixels) : Text(padding.Kind.ToString().ToLower(CultureInfo.InvariantCulture))!;
}
