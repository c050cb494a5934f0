using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>Every layer that a job can name, with its reader: a new layer adds one line here.</summary>
internal static class LayerCatalog
{
    private static readonly Dictionary<string, Func<NamedChoice, LayerSpec>> Readers = new(StringComparer.Ordinal)
    {
        [AttentionSpec.Name] = AttentionSpec.Read,
        [AveragePoolSpec.Name] = AveragePoolSpec.Read,
        [BatchNormSpec.Name] = BatchNormSpec.Read,
        [ConcatSpec.Name] = ConcatSpec.Read,
        [Conv1dSpec.Name] = Conv1dSpec.Read,
        [ConvSpec.Name] = ConvSpec.Read,
        [ConvTransposeSpec.Name] = ConvTransposeSpec.Read,
        [DenseSpec.Name] = DenseSpec.Read,
        [DropoutSpec.Name] = DropoutSpec.Read,
        [EluSpec.Name] = EluSpec.Read,
        [EmbeddingSpec.Name] = EmbeddingSpec.Read,
        [FlattenSpec.Name] = choice => Plain(choice, new FlattenSpec()),
        [GeluSpec.Name] = GeluSpec.Read,
        [GlobalAveragePoolSpec.Name] = choice => Plain(choice, new GlobalAveragePoolSpec()),
        [GlobalMaxPoolSpec.Name] = choice => Plain(choice, new GlobalMaxPoolSpec()),
        [GroupNormSpec.Name] = GroupNormSpec.Read,
        [GruSpec.Name] = GruSpec.Read,
        [IdentitySpec.Name] = choice => Plain(choice, new IdentitySpec()),
        [LayerNormSpec.Name] = LayerNormSpec.Read,
        [LeakyReluSpec.Name] = LeakyReluSpec.Read,
        [LogSoftmaxSpec.Name] = choice => Plain(choice, new LogSoftmaxSpec()),
        [LstmSpec.Name] = LstmSpec.Read,
        [MaxPoolSpec.Name] = MaxPoolSpec.Read,
        [MeanOverTimeSpec.Name] = choice => Plain(choice, new MeanOverTimeSpec()),
        [PositionsSpec.Name] = PositionsSpec.Read,
        [PreluSpec.Name] = PreluSpec.Read,
        [ReluSpec.Name] = choice => Plain(choice, new ReluSpec()),
        [ReshapeSpec.Name] = ReshapeSpec.Read,
        [ResidualSpec.Name] = ResidualSpec.Read,
        [RmsNormSpec.Name] = RmsNormSpec.Read,
        [RnnSpec.Name] = RnnSpec.Read,
        [SigmoidSpec.Name] = choice => Plain(choice, new SigmoidSpec()),
        [SiluSpec.Name] = choice => Plain(choice, new SiluSpec()),
        [SoftmaxSpec.Name] = choice => Plain(choice, new SoftmaxSpec()),
        [SoftplusSpec.Name] = choice => Plain(choice, new SoftplusSpec()),
        [SumSpec.Name] = SumSpec.Read,
        [TanhSpec.Name] = choice => Plain(choice, new TanhSpec()),
        [TransformerBlockSpec.Name] = TransformerBlockSpec.Read,
        [UnembedSpec.Name] = UnembedSpec.Read,
    };

    public static LayerSpec Read(ConfigNode node)
    {
        NamedChoice choice = NamedChoice.Read(node, "layer", Readers.Keys);
        return Readers[choice.Name](choice);
    }

    private static LayerSpec Plain(NamedChoice choice, LayerSpec spec)
    {
        choice.RefuseOptions();
        return spec;
    }
}
