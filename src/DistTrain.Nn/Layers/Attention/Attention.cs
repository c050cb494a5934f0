using DistTrain.Core.Config;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// Multi-head self-attention (Vaswani et al., 2017) over [time, features]: softmax(q·kᵀ/√width)·v for each head, between a
/// projection to q, k and v and one of the heads' results. Tensors are those of PyTorch's MultiheadAttention:
/// <c>in_proj_weight</c> [3·features, features], <c>in_proj_bias</c>, <c>out_proj.weight</c> [features, features],
/// <c>out_proj.bias</c>. Positions of padding are seen by none, where the embedding says which they are.
/// </summary>
/// <param name="Heads">How many heads; they divide the features evenly.</param>
/// <param name="Causal">Whether a position sees only itself and those before it.</param>
/// <param name="Bias">Whether the projections have biases.</param>
/// <param name="Rotary">Whether queries and keys are turned by their positions: see <see cref="RotaryLayer"/>.</param>
/// <param name="Init">First values of both weights; null for Glorot uniform.</param>
/// <param name="Window">
/// How far a position sees: itself and the positions less than so many before it, and as few behind it where it is not causal;
/// null for all.
/// </param>
/// <param name="Dropout">
/// How many of the softmax's weights are dropped in training, from 0 to below 1; the others are divided by 1 − dropout. Which
/// ones depends on seed, layer, step, the example's place in the mini-batch, head, query and key alone.
/// </param>
public sealed record AttentionSpec(
    int Heads, bool Causal = false, bool Bias = true, bool Rotary = false, Initialiser? Init = null, int? Window = null, double Dropout = 0) : LayerSpec
{
    internal const string Name = "attention";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static AttentionSpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        if (choice.HasMainValue) return new AttentionSpec((int)options.AsInteger(1, int.MaxValue));
        var spec = new AttentionSpec(
            (int)options.Require("heads").AsInteger(1, int.MaxValue),
            options.Flag("causal", false),
            options.Flag("bias", true),
            options.Flag("rotary", false),
            options.Find("init") is { } init ? Initialiser.FromConfig(init) : null,
            (int?)options.Find("window")?.AsInteger(1, int.MaxValue),
            options.Number("dropout", 0, 0, 1));
        choice.RefuseUnknown();
        return spec;
    }

    internal override void Emit(LayerBuilder builder)
    {
        (int time, int features) = builder.Sequences();
        if (Heads < 1 || features % Heads != 0) throw builder.Refuse($"features that {Heads} heads divide evenly", $"'heads' is {Heads}");
        int width = features / Heads;
        if (width > Kernels.Attention.MaxWidth) throw builder.Refuse($"heads of at most {Kernels.Attention.MaxWidth} features", $"{Heads} heads have {width} each");
        if (Rotary && width % 2 != 0) throw builder.Refuse("heads of an even number of features for 'rotary'", $"{Heads} heads have {width} each");
        if (Window < 1) throw builder.Refuse("a 'window' of 1 or more", $"it is {Window}");
        if (Dropout is not (>= 0 and < 1)) throw builder.Refuse("a 'dropout' from 0 to below 1", $"it is {Dropout}");
        Initialiser init = Init ?? Initialisers.GlorotUniform;
        Parameter? BiasOf(string name, int units) =>
            Bias ? builder.Declare(name, [units], Initialisers.Zeros, features, units, TensorRole.Undecayed) : null;
        Parameter inWeight = builder.Declare("in_proj_weight", [3 * features, features], init, features, 3 * features);
        Parameter? inBias = BiasOf("in_proj_bias", 3 * features);
        Parameter outWeight = builder.Declare("out_proj.weight", [features, features], init, features, features);
        Parameter? outBias = BiasOf("out_proj.bias", features);

        builder.Network.Append(new DenseLayer(inWeight, inBias, Activation.Identity, time), $"{builder.Name}.in_proj", DenseSpec.Name);
        if (Rotary) builder.Network.Append(new RotaryLayer(time, Heads, width), $"{builder.Name}.rotary", "rotary");
        builder.AppendSequence(
            new HeadsLayer(time, Heads, width, builder.Lengths(time) is not null)
            {
                Causal = Causal,
                Window = Window,
                Dropout = (float)Dropout,
                Place = builder.Network.Summary.Count,
            },
            time);
        builder.Network.Append(new DenseLayer(outWeight, outBias, Activation.Identity, time), $"{builder.Name}.out_proj", DenseSpec.Name);
    }
}
