using DistTrain.Core.Config;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// A 2-D convolution (cross-correlation, as PyTorch's Conv2d): [channels, height, width] becomes
/// [out, height', width'] with height' = ⌊(height + padding − dilation·(kernel − 1) − 1) / stride⌋ + 1, padding counted on
/// both sides. weight is [out, channels / groups, kernel rows, kernel columns], bias [out].
/// </summary>
/// <param name="Out">Output channels.</param>
/// <param name="Kernel">Rows and columns of the kernel.</param>
public sealed record ConvSpec(int Out, Size2 Kernel) : LayerSpec
{
    internal const string Name = "conv";

    /// <summary>Pixels from one output to the next.</summary>
    public Size2 Stride { get; init; } = 1;

    /// <summary>Zeros around the image.</summary>
    public Padding Padding { get; init; } = 0;

    /// <summary>Pixels between the kernel's own; 1 when they are neighbours.</summary>
    public Size2 Dilation { get; init; } = 1;

    /// <summary>How many independent convolutions the channels are split into, in order; as many as channels for depthwise ones.</summary>
    public int Groups { get; init; } = 1;

    /// <summary>Whether the bias is there; a batch norm behind makes it useless.</summary>
    public bool Bias { get; init; } = true;

    /// <summary>weight's first values; null for He normal when a relu or a norm follows directly, else Glorot uniform.</summary>
    public Initialiser? Init { get; init; }

    /// <summary>bias's first values; null for 0.</summary>
    public Initialiser? BiasInit { get; init; }

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static ConvSpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        var spec = new ConvSpec((int)options.Require("out").AsInteger(1, int.MaxValue), Size2.Read(options.Require("kernel"), 1))
        {
            Stride = Size2.Read(options, "stride", 1),
            Padding = Padding.Read(options),
            Dilation = Size2.Read(options, "dilation", 1),
            Groups = (int)options.Integer("groups", 1, 1, int.MaxValue),
            Bias = options.Flag("bias", true),
            Init = Initialiser.Read(options, "init"),
            BiasInit = Initialiser.Read(options, "bias_init"),
        };
        choice.RefuseUnknown();
        return spec;
    }

    internal override Layer Compile(LayerBuilder builder)
    {
        (int channels, int height, int width) = builder.Images();
        if (Padding.Kind == PaddingKind.Causal) throw builder.Refuse("sequences for causal padding", "use 'conv_1d', or 'padding: same'");
        (int top, int bottom) = Padding.Along(height, Kernel.Y, Stride.Y, Dilation.Y, Padding.Pixels.Y);
        (int left, int right) = Padding.Along(width, Kernel.X, Stride.X, Dilation.X, Padding.Pixels.X);
        var shape = new ConvolutionShape(height, width, channels, Out, Kernel.Y, Kernel.X)
        {
            StrideY = Stride.Y,
            StrideX = Stride.X,
            PadTop = top,
            PadBottom = bottom,
            PadLeft = left,
            PadRight = right,
            DilationY = Dilation.Y,
            DilationX = Dilation.X,
            Groups = Groups,
        };
        ConvTensors.Check(builder, shape, "channels");
        (Parameter weight, Parameter? bias) = ConvTensors.Declare(builder, [Out, channels / Groups, Kernel.Y, Kernel.X], Groups, Bias, Init, BiasInit);
        return new ConvLayer(weight, bias, shape, [Out, shape.OutputHeight, shape.OutputWidth]);
    }
}

/// <summary>What the convolutions have in common.</summary>
internal static class ConvTensors
{
    /// <summary>Refuses sizes that are no convolution, naming what is wrong.</summary>
    public static void Check(LayerBuilder builder, in ConvolutionShape shape, string channels)
    {
        if (shape.Outputs < 1) throw builder.Refuse("at least one output channel", $"'out' is {shape.Outputs}");
        if (shape.Groups < 1 || shape.Channels % shape.Groups != 0 || shape.Outputs % shape.Groups != 0)
            throw builder.Refuse($"{channels} and 'out' that {shape.Groups} groups divide", $"there are {shape.Channels} {channels}, and 'out' is {shape.Outputs}");
        if (((long)shape.DilationY * (shape.KernelHeight - 1)) + 1 > (long)shape.Height + shape.PadTop + shape.PadBottom ||
            ((long)shape.DilationX * (shape.KernelWidth - 1)) + 1 > (long)shape.Width + shape.PadLeft + shape.PadRight)
            throw builder.Refuse("an input at least as large as the kernel", "take a smaller 'kernel', or 'padding: same'");
        shape.Validate();
    }

    /// <summary>Declares weight and bias. The weight is [outputs, inputs of a group, kernel…].</summary>
    public static (Parameter Weight, Parameter? Bias) Declare(
        LayerBuilder builder, System.Collections.Immutable.ImmutableArray<int> shape, int groups, bool bias, Initialiser? init, Initialiser? biasInit)
    {
        int taps = Shapes.Width(shape) / shape[0] / shape[1];
        int fanIn = shape[1] * taps, fanOut = Math.Max(1, shape[0] / groups) * taps;
        bool rectified = builder.Next is ReluSpec or BatchNormSpec or GroupNormSpec;
        Parameter weight = builder.Declare("weight", shape, init ?? (rectified ? Initialisers.HeNormal : Initialisers.GlorotUniform), fanIn, fanOut);
        return (weight, bias ? builder.Declare("bias", [shape[0]], biasInit ?? Initialisers.Zeros, fanIn, fanOut, TensorRole.Undecayed) : null);
    }
}
