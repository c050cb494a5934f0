using System.Collections.Immutable;

namespace DistTrain.Nn;

/// <summary>Convolutions, poolings, norms, activations and branches.</summary>
public static partial class Layers
{
    /// <summary>A 2-D convolution. See <see cref="ConvSpec"/>; its other options are set by <c>with</c>.</summary>
    public static ConvSpec Conv(int outputs, Size2 kernel, Size2? stride = null, Padding padding = default, bool bias = true) =>
        new(outputs, kernel) { Stride = stride ?? 1, Padding = padding, Bias = bias };

    /// <summary>A convolution along time. See <see cref="Conv1dSpec"/>.</summary>
    public static Conv1dSpec Conv1d(int outputs, int kernel, int stride = 1, Padding padding = default, bool bias = true) =>
        new(outputs, kernel) { Stride = stride, Padding = padding, Bias = bias };

    /// <summary>A transposed 2-D convolution. See <see cref="ConvTransposeSpec"/>.</summary>
    public static ConvTransposeSpec ConvTranspose(int outputs, Size2 kernel, Size2? stride = null, Size2 padding = default, bool bias = true) =>
        new(outputs, kernel) { Stride = stride ?? 1, Padding = padding, Bias = bias };

    /// <summary>The largest value of each window. See <see cref="MaxPoolSpec"/>.</summary>
    public static MaxPoolSpec MaxPool(Size2 kernel, Size2? stride = null, Size2 padding = default) => new(kernel) { Stride = stride, Padding = padding };

    /// <summary>The mean of each window. See <see cref="AveragePoolSpec"/>.</summary>
    public static AveragePoolSpec AveragePool(Size2 kernel, Size2? stride = null, Size2 padding = default) => new(kernel) { Stride = stride, Padding = padding };

    /// <summary>The mean of each channel.</summary>
    public static LayerSpec GlobalAveragePool() => new GlobalAveragePoolSpec();

    /// <summary>The largest value of each channel.</summary>
    public static LayerSpec GlobalMaxPool() => new GlobalMaxPoolSpec();

    /// <summary>Another shape for the same values. See <see cref="ReshapeSpec"/>.</summary>
    public static LayerSpec Reshape(params ImmutableArray<int> to) => new ReshapeSpec(to);

    /// <summary>Batch normalisation, shard by shard. See <see cref="BatchNormSpec"/>.</summary>
    public static LayerSpec BatchNorm(double momentum = 0.1, double epsilon = 1e-5) => new BatchNormSpec(momentum, epsilon);

    /// <summary>Layer normalisation. See <see cref="LayerNormSpec"/>.</summary>
    public static LayerSpec LayerNorm(double epsilon = 1e-5) => new LayerNormSpec(epsilon);

    /// <summary>Group normalisation. See <see cref="GroupNormSpec"/>.</summary>
    public static LayerSpec GroupNorm(int groups, double epsilon = 1e-5) => new GroupNormSpec(groups, epsilon);

    /// <summary>RMS normalisation. See <see cref="RmsNormSpec"/>.</summary>
    public static LayerSpec RmsNorm(double epsilon = 1e-6) => new RmsNormSpec(epsilon);

    /// <summary>Zeroes values at random in training. See <see cref="DropoutSpec"/>.</summary>
    public static LayerSpec Dropout(double rate = 0.5) => new DropoutSpec(rate);

    /// <summary>y = x above zero, else slope·x.</summary>
    public static LayerSpec LeakyRelu(double slope = 0.01) => new LeakyReluSpec(slope);

    /// <summary>y = x above zero, else a trained weight·x. See <see cref="PreluSpec"/>.</summary>
    public static LayerSpec Prelu(bool perChannel = false, Initialiser? init = null) => new PreluSpec(perChannel, init);

    /// <summary>y = x from zero up, else alpha·(e^x − 1).</summary>
    public static LayerSpec Elu(double alpha = 1) => new EluSpec(alpha);

    /// <summary>y = x·Φ(x), or its approximation by tanh.</summary>
    public static LayerSpec Gelu(bool tanh = false) => new GeluSpec(tanh);

    /// <summary>y = x / (1 + e^-x).</summary>
    public static LayerSpec Silu() => new SiluSpec();

    /// <summary>y = ln(1 + e^x).</summary>
    public static LayerSpec Softplus() => new SoftplusSpec();

    /// <summary>y_i = e^x_i / Σ e^x_j.</summary>
    public static LayerSpec Softmax() => new SoftmaxSpec();

    /// <summary>y_i = x_i − ln Σ e^x_j.</summary>
    public static LayerSpec LogSoftmax() => new LogSoftmaxSpec();

    /// <summary>y = x + f(x). See <see cref="ResidualSpec"/>.</summary>
    public static LayerSpec Residual(params ImmutableArray<LayerSpec> layers) => new ResidualSpec(layers);

    /// <summary>y = shortcut(x) + f(x). See <see cref="ResidualSpec"/>.</summary>
    public static LayerSpec Residual(ImmutableArray<LayerSpec> layers, ImmutableArray<LayerSpec> shortcut) => new ResidualSpec(layers, shortcut);

    /// <summary>The sum of branches; one without layers is the input itself.</summary>
    public static LayerSpec Sum(params ImmutableArray<ImmutableArray<LayerSpec>> branches) => new SumSpec(branches);

    /// <summary>Branches side by side; one without layers is the input itself.</summary>
    public static LayerSpec Concat(params ImmutableArray<ImmutableArray<LayerSpec>> branches) => new ConcatSpec(branches);
}
