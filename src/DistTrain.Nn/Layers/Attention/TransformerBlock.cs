using System.Collections.Immutable;
using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>Where a transformer block normalises.</summary>
public enum NormPlace
{
    /// <summary>Before attention and network, on their way only: x + f(norm(x)).</summary>
    Pre,

    /// <summary>After each sum: norm(x + f(x)).</summary>
    Post,
}

/// <summary>What a transformer block's network has between its two dense layers.</summary>
public enum BlockActivation
{
    /// <summary>GELU by erf.</summary>
    Gelu,

    /// <summary>ReLU.</summary>
    Relu,
}

/// <summary>
/// A block of a transformer over [time, features]: self-attention, then a dense network at each position, each added to
/// what it reads (Vaswani et al., 2017; norms first: Xiong et al., 2020, 'On layer normalization in the transformer
/// architecture'). Tensors are called as in PyTorch's TransformerEncoderLayer: <c>self_attn.in_proj_weight</c>, …,
/// <c>linear1.weight</c>, <c>linear2.weight</c>, <c>norm1.weight</c>, <c>norm2.weight</c>.
/// </summary>
/// <param name="Heads">Heads of the attention.</param>
/// <param name="Mlp">Values between the two dense layers; null for four times the features.</param>
/// <param name="Norm">Norms before or after.</param>
/// <param name="Activation">Between the two dense layers.</param>
/// <param name="Causal">Whether a position sees only itself and those before it.</param>
/// <param name="Bias">Whether dense layers and projections have biases.</param>
/// <param name="Rotary">Whether the attention turns queries and keys by their positions.</param>
/// <param name="Dropout">How much of what attention and network add is dropped in training, from 0 to below 1.</param>
/// <param name="Init">First values of all weights; null for Glorot uniform (He normal before a ReLU).</param>
/// <param name="Window">How far the attention sees; null for all. See <see cref="AttentionSpec"/>.</param>
/// <param name="AttentionDropout">How many of the attention's weights are dropped in training.</param>
public sealed record TransformerBlockSpec(
    int Heads,
    int? Mlp = null,
    NormPlace Norm = NormPlace.Pre,
    BlockActivation Activation = BlockActivation.Gelu,
    bool Causal = false,
    bool Bias = true,
    bool Rotary = false,
    double Dropout = 0,
    Initialiser? Init = null,
    int? Window = null,
    double AttentionDropout = 0) : LayerSpec
{
    internal const string Name = "transformer_block";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static TransformerBlockSpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        if (choice.HasMainValue) return new TransformerBlockSpec((int)options.AsInteger(1, int.MaxValue));
        var spec = new TransformerBlockSpec(
            (int)options.Require("heads").AsInteger(1, int.MaxValue),
            (int?)options.Find("mlp")?.AsInteger(1, int.MaxValue),
            options.Find("norm") is { } norm ? Choices.Read(norm, "'norm'", ("pre", NormPlace.Pre), ("post", NormPlace.Post)) : NormPlace.Pre,
            options.Find("activation") is { } f ? Choices.Read(f, "activation", ("gelu", BlockActivation.Gelu), ("relu", BlockActivation.Relu)) : BlockActivation.Gelu,
            options.Flag("causal", false),
            options.Flag("bias", true),
            options.Flag("rotary", false),
            options.Number("dropout", 0, 0, 1),
            options.Find("init") is { } init ? Initialiser.FromConfig(init) : null,
            (int?)options.Find("window")?.AsInteger(1, int.MaxValue),
            options.Number("attention_dropout", 0, 0, 1));
        choice.RefuseUnknown();
        return spec;
    }

    internal override void Emit(LayerBuilder builder)
    {
        (_, int features) = builder.Sequences();
        LayerSpec activation = Activation == BlockActivation.Relu ? new ReluSpec() : new GeluSpec();
        Add(builder, "1", () => builder.Emit("self_attn", new AttentionSpec(Heads, Causal, Bias, Rotary, Init, Window, AttentionDropout)));
        Add(builder, "2", () =>
        {
            builder.Emit("linear1", new DenseSpec(Mlp ?? checked(4 * features), Bias, Init), activation);
            builder.Emit("activation", activation);
            builder.Emit("linear2", new DenseSpec(features, Bias, Init));
        });
    }

    // x + f(x), with the norm before f or after the sum.
    private void Add(LayerBuilder builder, string number, Action emit)
    {
        NetworkBuilder network = builder.Network;
        (int x, ImmutableArray<int> shape) = (network.Value, network.Shape);
        network.Graph.Share(x);
        if (Norm == NormPlace.Pre) builder.Emit($"norm{number}", new LayerNormSpec());
        emit();
        if (Dropout > 0) builder.Emit($"dropout{number}", new DropoutSpec(Dropout));
        network.Graph.Share(network.Value);
        network.Join(new SumLayer(shape, 2), [x, network.Value], $"{builder.Name}.sum{number}", "sum");
        if (Norm == NormPlace.Post) builder.Emit($"norm{number}", new LayerNormSpec());
    }
}
