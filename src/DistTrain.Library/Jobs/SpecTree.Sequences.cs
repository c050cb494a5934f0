using DistTrain.Nn;
using static DistTrain.Jobs.JobTree;

namespace DistTrain.Jobs;

/// <summary>Layers for sequences.</summary>
internal static partial class SpecTree
{
    private static YamlTree? OfSequenceOptions(LayerSpec layer) => layer switch
    {
        EmbeddingSpec embedding => Map(
            ("vocabulary", Number(embedding.Vocabulary)),
            ("out", Number(embedding.Out)),
            ("padding", Number(embedding.Padding)),
            ("first", Number(embedding.First)),
            ("count", Number(embedding.Count)),
            ("init", Of(embedding.Init))),
        UnembedSpec unembed => Map(("of", Text(unembed.Of)), ("bias", Flag(unembed.Bias))),
        PositionsSpec positions => Map(("from", Text(positions.From == PositionKind.Learned ? "learned" : "sinusoidal")), ("init", Of(positions.Init))),
        RecurrentSpec recurrent => Map(
            ("hidden", Number(recurrent.Hidden)),
            ("layers", Number(recurrent.Layers)),
            ("bidirectional", Flag(recurrent.Bidirectional)),
            ("return", Text(recurrent.Return == RecurrentReturn.Last ? "last" : "sequence")),
            ("bias", Flag(recurrent.Bias)),
            ("init", Of(recurrent.Init)),
            ("recurrent_init", Of(recurrent.RecurrentInit)),
            ("bias_init", Of(recurrent.BiasInit)),
            ("activation", recurrent is RnnSpec rnn ? Text(rnn.Relu ? "relu" : "tanh") : null)),
        AttentionSpec attention => Map(
            ("heads", Number(attention.Heads)),
            ("causal", Flag(attention.Causal)),
            ("bias", Flag(attention.Bias)),
            ("rotary", Flag(attention.Rotary)),
            ("init", Of(attention.Init)),
            ("window", Number(attention.Window)),
            ("dropout", attention.Dropout == 0 ? null : Number(attention.Dropout))),
        TransformerBlockSpec block => Map(
            ("heads", Number(block.Heads)),
            ("mlp", Number(block.Mlp)),
            ("norm", Text(block.Norm == NormPlace.Pre ? "pre" : "post")),
            ("activation", Text(block.Activation == BlockActivation.Relu ? "relu" : "gelu")),
            ("causal", Flag(block.Causal)),
            ("bias", Flag(block.Bias)),
            ("rotary", Flag(block.Rotary)),
            ("dropout", Number(block.Dropout)),
            ("init", Of(block.Init)),
            ("window", Number(block.Window)),
            ("attention_dropout", block.AttentionDropout == 0 ? null : Number(block.AttentionDropout))),
        _ => null,
    };
}
