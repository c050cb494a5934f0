using DistTrain.Nn;

namespace DistTrain.Tests.Jobs;

/// <summary>Every convolution, pooling, norm, activation and branch, with options that are not the defaults.</summary>
internal static class ImageLayers
{
    public static LayerSpec[] All { get; } =
    [
        Layers.Conv(32, 3),
        Layers.Conv(32, new Size2(3, 5), stride: new Size2(2, 1), padding: new Size2(1, 2), bias: false) with { Dilation = 2, Groups = 4 },
        Layers.Conv(8, 3, padding: Padding.Same) with { Init = Initialisers.HeUniform, BiasInit = Initialisers.Constant(0.5) },
        Layers.Conv1d(8, 5, stride: 2, padding: 3) with { Dilation = 2, Groups = 2, Init = Initialisers.Normal(0.1) },
        Layers.Conv1d(8, 3, padding: Padding.Same, bias: false),
        Layers.Conv1d(8, 2, padding: Padding.Causal) with { BiasInit = Initialisers.Zeros },
        Layers.ConvTranspose(4, 4, stride: 2, padding: 1),
        Layers.ConvTranspose(4, new Size2(2, 3), bias: false) with { OutputPadding = new Size2(1, 0), Stride = 2, Dilation = 3, Groups = 2, Init = Initialisers.GlorotNormal },
        Layers.MaxPool(2),
        Layers.MaxPool(new Size2(3, 2), stride: 2, padding: 1),
        Layers.AveragePool(2),
        Layers.AveragePool(3, stride: new Size2(1, 2), padding: 1) with { CountPadding = false },
        Layers.GlobalAveragePool(),
        Layers.GlobalMaxPool(),
        Layers.Reshape(3, -1, 8),
        new ReshapeSpec([2, 4, 4], ChannelsLast: true),
        Layers.BatchNorm(0.01, 1e-3),
        Layers.LayerNorm(1e-6),
        Layers.GroupNorm(4, 1e-4),
        Layers.RmsNorm(1e-5),
        Layers.Dropout(0.25),
        Layers.LeakyRelu(0.2),
        Layers.Prelu(perChannel: true, Initialisers.Constant(0.1)),
        Layers.Elu(0.7),
        Layers.Gelu(),
        Layers.Gelu(tanh: true),
        Layers.Silu(),
        Layers.Softplus(),
        Layers.Softmax(),
        Layers.LogSoftmax(),
        Layers.Residual(Layers.Conv(8, 3, padding: 1), Layers.BatchNorm(), Layers.Relu()),
        Layers.Residual([Layers.Dense(3)], [Layers.Dense(3, bias: false), Layers.Tanh()]),
        Layers.Sum([Layers.Dense(3)], [Layers.Residual(Layers.Relu())], []),
        Layers.Concat([], [Layers.Conv(4, 1), Layers.Relu()]),
    ];
}
