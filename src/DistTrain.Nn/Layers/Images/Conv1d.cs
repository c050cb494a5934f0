using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// A convolution along time: [time, features] becomes [time', out], time' as a side of <see cref="ConvSpec"/>. Sequences lie
/// as everywhere here, time step after time step; PyTorch's Conv1d takes the transpose, [features, time]. weight is
/// [out, features / groups, kernel] as there, bias [out]. With causal padding an output sees no later time step (van den
/// Oord et al., 2016, 'WaveNet').
/// </summary>
/// <param name="Out">Features of the output.</param>
/// <param name="Kernel">Time steps of the kernel.</param>
public sealed record Conv1dSpec(int Out, int Kernel) : LayerSpec
{
    internal const string Name = "conv_1d";

    /// <summary>Time steps from one output to the next.</summary>
    public int Stride { get; init; } = 1;

    /// <summary>Zeros before and behind the sequence; <see cref="Size2.X"/> counts.</summary>
    public Padding Padding { get; init; } = 0;

    /// <summary>Time steps between the kernel's own; 1 when they are neighbours.</summary>
    public int Dilation { get; init; } = 1;

    /// <summary>How many independent convolutions the features are split into, in order.</summary>
    public int Groups { get; init; } = 1;

    /// <summary>Whether the bias is there.</summary>
    public bool Bias { get; init; } = true;

    /// <summary>weight's first values; null for He normal when a relu or a norm follows directly, else Glorot uniform.</summary>
    public Initialiser? Init { get; init; }

    /// <summary>bias's first values; null for 0.</summary>
    public Initialiser? BiasInit { get; init; }

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static Conv1dSpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        var spec = new Conv1dSpec((int)options.Require("out").AsInteger(1, int.MaxValue), (int)options.Require("kernel").AsInteger(1, int.MaxValue))
        {
            Stride = (int)options.Integer("stride", 1, 1, int.MaxValue),
            Padding = Padding.Read(options, sequences: true),
            Dilation = (int)options.Integer("dilation", 1, 1, int.MaxValue),
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
        (int time, int features) = builder.Sequences();
        (int before, int behind) = Padding.Along(time, Kernel, Stride, Dilation, Padding.Pixels.X);
        var shape = new ConvolutionShape(1, time, features, Out, 1, Kernel)
        {
            StrideX = Stride,
            PadLeft = before,
            PadRight = behind,
            DilationX = Dilation,
            Groups = Groups,
        };
        ConvTensors.Check(builder, shape, "features");
        (Parameter weight, Parameter? bias) = ConvTensors.Declare(builder, [Out, features / Groups, Kernel], Groups, Bias, Init, BiasInit);
        return new ConvLayer(weight, bias, shape, [shape.OutputWidth, Out]);
    }
}
