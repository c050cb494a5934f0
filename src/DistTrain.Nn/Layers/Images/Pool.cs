using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// The largest value of each window: [channels, height, width] becomes [channels, height', width'] with
/// height' = ⌊(height + 2·padding − kernel) / stride⌋ + 1; pixels outside the image are in no window. The gradient goes to
/// the first largest. A sequence [time, features] is pooled along time, by the kernel's columns.
/// </summary>
/// <param name="Kernel">Rows and columns of a window.</param>
public sealed record MaxPoolSpec(Size2 Kernel) : LayerSpec
{
    internal const string Name = "max_pool";

    /// <summary>Pixels from one window to the next; null for the kernel's own size.</summary>
    public Size2? Stride { get; init; }

    /// <summary>How far windows may reach beyond the image, on each side; below the kernel.</summary>
    public Size2 Padding { get; init; } = 0;

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static MaxPoolSpec Read(NamedChoice choice)
    {
        if (choice.Options.Kind != ConfigKind.Map) return new MaxPoolSpec(Size2.Read(choice.Options, 1));
        (Size2 kernel, Size2? stride, Size2 padding) = PoolShapes.Read(choice.Options);
        choice.RefuseUnknown();
        return new MaxPoolSpec(kernel) { Stride = stride, Padding = padding };
    }

    internal override Layer Compile(LayerBuilder builder)
    {
        (PoolingShape shape, ImmutableArray<int> output) = PoolShapes.Of(builder, Kernel, Stride ?? Kernel, Padding);
        return new MaxPoolLayer(shape, output);
    }
}

/// <summary>
/// The mean of each window, with sizes as in <see cref="MaxPoolSpec"/>. As PyTorch's AvgPool2d, pixels outside the image
/// count as 0 unless <see cref="CountPadding"/> says that they are in no window.
/// </summary>
/// <param name="Kernel">Rows and columns of a window.</param>
public sealed record AveragePoolSpec(Size2 Kernel) : LayerSpec
{
    internal const string Name = "average_pool";

    /// <summary>Pixels from one window to the next; null for the kernel's own size.</summary>
    public Size2? Stride { get; init; }

    /// <summary>How far windows may reach beyond the image, on each side; below the kernel.</summary>
    public Size2 Padding { get; init; } = 0;

    /// <summary>Whether the divisor counts pixels outside the image.</summary>
    public bool CountPadding { get; init; } = true;

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static AveragePoolSpec Read(NamedChoice choice)
    {
        if (choice.Options.Kind != ConfigKind.Map) return new AveragePoolSpec(Size2.Read(choice.Options, 1));
        (Size2 kernel, Size2? stride, Size2 padding) = PoolShapes.Read(choice.Options);
        bool count = choice.Options.Flag("count_padding", true);
        choice.RefuseUnknown();
        return new AveragePoolSpec(kernel) { Stride = stride, Padding = padding, CountPadding = count };
    }

    internal override Layer Compile(LayerBuilder builder)
    {
        (PoolingShape shape, ImmutableArray<int> output) = PoolShapes.Of(builder, Kernel, Stride ?? Kernel, Padding);
        return new AveragePoolLayer(shape, CountPadding, output);
    }
}

/// <summary>The mean of each channel: [channels, height, width] or [time, channels] becomes [channels].</summary>
public sealed record GlobalAveragePoolSpec : LayerSpec
{
    internal const string Name = "global_average_pool";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Layer Compile(LayerBuilder builder)
    {
        PoolingShape shape = PoolShapes.Global(builder);
        return new AveragePoolLayer(shape, false, [shape.Channels]);
    }
}

/// <summary>The largest value of each channel: [channels, height, width] or [time, channels] becomes [channels].</summary>
public sealed record GlobalMaxPoolSpec : LayerSpec
{
    internal const string Name = "global_max_pool";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Layer Compile(LayerBuilder builder)
    {
        PoolingShape shape = PoolShapes.Global(builder);
        return new MaxPoolLayer(shape, [shape.Channels]);
    }
}

/// <summary>What the poolings have in common.</summary>
internal static class PoolShapes
{
    public static (Size2 Kernel, Size2? Stride, Size2 Padding) Read(ConfigNode options) => (
        Size2.Read(options.Require("kernel"), 1),
        options.Find("stride") is { } stride ? Size2.Read(stride, 1) : null,
        Size2.Read(options, "padding", 0, min: 0));

    /// <summary>The kernel's shape and the shape of the output; a sequence is an image of one row.</summary>
    public static (PoolingShape Shape, ImmutableArray<int> Output) Of(LayerBuilder builder, Size2 kernel, Size2 stride, Size2 padding)
    {
        if (builder.Input.Length == 2) (kernel, stride, padding) = (kernel with { Y = 1 }, stride with { Y = 1 }, padding with { Y = 0 });
        (int channels, int height, int width) = Sizes(builder);
        if (kernel.Y < 1 || kernel.X < 1 || stride.Y < 1 || stride.X < 1) throw builder.Refuse("a kernel and a stride of at least 1", $"they are {kernel} and {stride}");
        if (padding.Y < 0 || padding.X < 0 || padding.Y >= kernel.Y || padding.X >= kernel.X)
            throw builder.Refuse($"a 'padding' below the kernel, {kernel}", $"it is {padding}");
        if (kernel.Y > (long)height + (2L * padding.Y) || kernel.X > (long)width + (2L * padding.X))
            throw builder.Refuse($"an input at least as large as the window, {kernel}", "take a smaller 'kernel', or leave the layer out");
        var shape = new PoolingShape(height, width, channels, kernel.Y, kernel.X)
        {
            StrideY = stride.Y,
            StrideX = stride.X,
            PadTop = padding.Y,
            PadBottom = padding.Y,
            PadLeft = padding.X,
            PadRight = padding.X,
        };
        return (shape, builder.Input.Length == 2 ? [shape.OutputWidth, channels] : [channels, shape.OutputHeight, shape.OutputWidth]);
    }

    public static PoolingShape Global(LayerBuilder builder)
    {
        (int channels, int height, int width) = Sizes(builder);
        return PoolingShape.Global(height, width, channels);
    }

    private static (int Channels, int Height, int Width) Sizes(LayerBuilder builder)
    {
        if (builder.Input is [int time, int features]) return (features, 1, time);
        return builder.Images();
    }
}
