using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>Every layer that a job can name, with its reader: a new layer adds one line here.</summary>
internal static class LayerCatalog
{
    private static readonly Dictionary<string, Func<NamedChoice, LayerSpec>> Readers = new(StringComparer.Ordinal)
    {
        [AttentionSpec.Name] = AttentionSpec.Read,
        [DenseSpec.Name] = DenseSpec.Read,
        [EmbeddingSpec.Name] = EmbeddingSpec.Read,
        [FlattenSpec.Name] = choice => Plain(choice, new FlattenSpec()),
        [GruSpec.Name] = GruSpec.Read,
        [IdentitySpec.Name] = choice => Plain(choice, new IdentitySpec()),
        [LstmSpec.Name] = LstmSpec.Read,
        [MeanOverTimeSpec.Name] = choice => Plain(choice, new MeanOverTimeSpec()),
        [PositionsSpec.Name] = PositionsSpec.Read,
        [ReluSpec.Name] = choice => Plain(choice, new ReluSpec()),
        [RnnSpec.Name] = RnnSpec.Read,
        [SigmoidSpec.Name] = choice => Plain(choice, new SigmoidSpec()),
        [TanhSpec.Name] = choice => Plain(choice, new TanhSpec()),
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
