using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// A transposed 2-D convolution, as PyTorch's ConvTranspose2d: what a <see cref="ConvSpec"/> with the same options does to
/// gradients, going forward. [channels, height, width] becomes [out, height', width'] with
/// height' = (height − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1. weight is
/// [channels, out / groups, kernel rows, kernel columns], bias [out].
/// </summary>
/// <param name="Out">Output channels.</param>
/// <param name="Kernel">Rows and columns of the kernel.</param>
public sealed record ConvTransposeSpec(int Out, Size2 Kernel) : LayerSpec
{
    internal const string Name = "conv_transpose";

    /// <summary>Output pixels from one input to the next.</summary>
    public Size2 Stride { get; init; } = 1;

    /// <summary>Output pixels that are left out on each side.</summary>
    public Size2 Padding { get; init; } = 0;

    /// <summary>Output pixels that are added at the bottom and on the right; below the stride.</summary>
    public Size2 OutputPadding { get; init; } = 0;

    /// <summary>Pixels between the kernel's own; 1 when they are neighbours.</summary>
    public Size2 Dilation { get; init; } = 1;

    /// <summary>How many independent convolutions the channels are split into, in order.</summary>
    public int Groups { get; init; } = 1;

    /// <summary>Whether the bias is there.</summary>
    public bool Bias { get; init; } = true;

    /// <summary>weight's first values; null for He normal when a relu or a norm follows directly, else Glorot uniform.</summary>
    public Initialiser? Init { get; init; }

    /// <summary>bias's first values; null for 0.</summary>
    public Initialiser? BiasInit { get; init; }

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static ConvTransposeSpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        var spec = new ConvTransposeSpec((int)options.Require("out").AsInteger(1, int.MaxValue), Size2.Read(options.Require("kernel"), 1))
        {
            Stride = Size2.Read(options, "stride", 1),
            Padding = Size2.Read(options, "padding", 0, min: 0),
            OutputPadding = Size2.Read(options, "output_padding", 0, min: 0),
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
        if (Out < 1 || Groups < 1 || channels % Groups != 0 || Out % Groups != 0)
            throw builder.Refuse($"channels and 'out' that {Groups} groups divide", $"there are {channels} channels, and 'out' is {Out}");
        if (OutputPadding.Y >= Stride.Y || OutputPadding.X >= Stride.X)
            throw builder.Refuse("an 'output_padding' below the stride", $"it is {OutputPadding}, the stride {Stride}");
        int rows = Side(height, Kernel.Y, Stride.Y, Padding.Y, Dilation.Y, OutputPadding.Y);
        int columns = Side(width, Kernel.X, Stride.X, Padding.X, Dilation.X, OutputPadding.X);
        if (rows < 1 || columns < 1) throw builder.Refuse("a larger input", "'padding' leaves nothing of the output");
        // The convolution that this is the transpose of: from our output to our input.
        var shape = new ConvolutionShape(rows, columns, Out, channels, Kernel.Y, Kernel.X)
        {
            StrideY = Stride.Y,
            StrideX = Stride.X,
            PadTop = Padding.Y,
            PadBottom = Padding.Y,
            PadLeft = Padding.X,
            PadRight = Padding.X,
            DilationY = Dilation.Y,
            DilationX = Dilation.X,
            Groups = Groups,
        };
        shape.Validate();
        int taps = Kernel.Y * Kernel.X;
        int fanIn = Math.Max(1, channels / Groups * taps / (Stride.Y * Stride.X)), fanOut = Out / Groups * taps;
        bool rectified = builder.Next is ReluSpec or BatchNormSpec or GroupNormSpec;
        Parameter weight = builder.Declare(
            "weight", [channels, Out / Groups, Kernel.Y, Kernel.X], Init ?? (rectified ? Initialisers.HeNormal : Initialisers.GlorotUniform), fanIn, fanOut);
        Parameter? bias = Bias ? builder.Declare("bias", [Out], BiasInit ?? Initialisers.Zeros, fanIn, fanOut, TensorRole.Undecayed) : null;
        return new ConvTransposeLayer(weight, bias, shape, Activation.Identity);
    }

    private static int Side(int size, int kernel, int stride, int padding, int dilation, int more) =>
        checked(((size - 1) * stride) - (2 * padding) + (dilation * (kernel - 1)) + more + 1);
}

/// <summary>A transposed convolution and the activation behind it; <paramref name="shape"/> leads from its output to its input.</summary>
internal sealed unsafe class ConvTransposeLayer(Parameter weight, Parameter? bias, ConvolutionShape shape, Activation activation)
    : Layer([shape.Channels, shape.Height, shape.Width])
{
    /// <inheritdoc/>
    public override ImmutableArray<Parameter> Parameters { get; } = bias is null ? [weight] : [weight, bias];

    /// <inheritdoc/>
    public override long Flops => (2L * shape.OutputHeight * shape.OutputWidth * shape.WeightLength) + (bias is null ? 0 : OutputWidth);

    /// <inheritdoc/>
    public override bool BackwardReadsInput => true;

    /// <inheritdoc/>
    public override bool BackwardReadsOutput => activation != Activation.Identity;

    /// <summary>The packed weights of the pass, then the ranges of pixels.</summary>
    public override Room Scratch =>
        new(0, PerLeaf: PositionRanges.PerLeaf, Once: Math.Max(Convolution.ForwardPackedLength(shape), Convolution.DataPackedLength(shape)));

    /// <inheritdoc/>
    public override Layer? Fuse(Layer next) =>
        next is ActivationLayer behind && activation == Activation.Identity ? new ConvTransposeLayer(weight, bias, shape, behind.Activation) : null;

    /// <inheritdoc/>
    public override void Forward(NodeBuffers node, StepContext step)
    {
        Convolution.PackData(shape, step.Weight(weight), node.Scratch);
        var epilogue = new GemmEpilogue(bias is null ? null : step.Weight(bias), activation);
        Convolution.DataGradient(shape, step.Rows, node.Input(), node.Scratch, node.Output, epilogue, step.Pool);
    }

    /// <inheritdoc/>
    public override void Backward(NodeBuffers node, StepContext step)
    {
        float* dy = node.OutputGradient;
        if (activation != Activation.Identity)
        {
            Elementwise.ActivateBackward(activation, dy, node.Output, dy, (nint)step.Rows * OutputWidth, step.Pool);
        }

        GradientPlan plan = step.Plan!;
        if (bias is not null)
        {
            for (int j = 0; j < plan.NodeCount; j++)
            {
                ReadOnlySpan<KRange> pixels = PositionRanges.Of(plan, j, shape.Height * shape.Width, node.Scratch);
                SegmentedGemm.ColumnSum(dy, shape.Channels, shape.Channels, pixels, plan.LeafStartsOf(j), step.Gradient(bias, j), step.Pool);
            }

            step.Finished(bias);
        }

        for (int j = 0; j < plan.NodeCount; j++)
        {
            Convolution.WeightGradient(shape, node.Input(), dy, plan.RangesOf(j), plan.LeafStartsOf(j), step.Gradient(weight, j), step.Pool);
        }

        step.Finished(weight);
        if (node.InputGradient() == null) return;
        Convolution.PackForward(shape, step.Weight(weight), node.Scratch);
        Convolution.Forward(shape, step.Rows, dy, node.Scratch, node.InputGradient(), default, step.Pool);
    }
}
