using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>Every layer that a job can name, with its reader: a new layer adds one line here.</summary>
internal static class LayerCatalog
{
    private static readonly Dictionary<string, Func<NamedChoice, LayerSpec>> Readers = new(StringComparer.Ordinal)
    {
        [DenseSpec.Name] = DenseSpec.Read,
        [FlattenSpec.Name] = choice => Plain(choice, new FlattenSpec()),
        [IdentitySpec.Name] = choice => Plain(choice, new IdentitySpec()),
        [ReluSpec.Name] = choice => Plain(choice, new ReluSpec()),
        [SigmoidSpec.Name] = choice => Plain(choice, new SigmoidSpec()),
        [TanhSpec.Name] = choice => Plain(choice, new TanhSpec()),
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
