using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>Every initialiser that a job can name, with its reader.</summary>
internal static class InitialiserCatalog
{
    private static readonly Dictionary<string, Func<NamedChoice, Initialiser>> Readers = new(StringComparer.Ordinal)
    {
        ["glorot_uniform"] = choice => Plain(choice, Initialisers.GlorotUniform),
        ["glorot_normal"] = choice => Plain(choice, Initialisers.GlorotNormal),
        ["he_uniform"] = choice => Plain(choice, Initialisers.HeUniform),
        ["he_normal"] = choice => Plain(choice, Initialisers.HeNormal),
        ["zeros"] = choice => Plain(choice, Initialisers.Zeros),
        ["constant"] = choice => new ConstantInitialiser(Value(choice, "value", double.NegativeInfinity)),
        ["uniform"] = choice => new UniformInitialiser(Value(choice, "limit", 0)),
        ["normal"] = choice => new NormalInitialiser(Value(choice, "std", 0)),
    };

    public static Initialiser Read(ConfigNode node)
    {
        NamedChoice choice = NamedChoice.Read(node, "initialiser", Readers.Keys);
        return Readers[choice.Name](choice);
    }

    private static Initialiser Plain(NamedChoice choice, Initialiser initialiser)
    {
        choice.RefuseOptions();
        return initialiser;
    }

    private static double Value(NamedChoice choice, string key, double min)
    {
        if (choice.HasMainValue) return choice.Options.AsNumber(min);
        double value = choice.Options.Require(key).AsNumber(min);
        choice.RefuseUnknown();
        return value;
    }
}
