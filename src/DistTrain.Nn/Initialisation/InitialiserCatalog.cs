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
        ["lecun_uniform"] = choice => Plain(choice, Initialisers.LeCunUniform),
        ["lecun_normal"] = choice => Plain(choice, Initialisers.LeCunNormal),
        ["orthogonal"] = Orthogonal,
        ["truncated_normal"] = TruncatedNormal,
        ["ones"] = choice => Plain(choice, Initialisers.Ones),
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

    private static OrthogonalInitialiser Orthogonal(NamedChoice choice)
    {
        var initialiser = new OrthogonalInitialiser(choice.HasMainValue ? choice.Options.AsNumber() : choice.Options.Number("gain", 1));
        choice.RefuseUnknown();
        return initialiser;
    }

    private static TruncatedNormalInitialiser TruncatedNormal(NamedChoice choice)
    {
        if (choice.HasMainValue) return new TruncatedNormalInitialiser(choice.Options.AsNumber(0));
        ConfigNode options = choice.Options;
        var initialiser = new TruncatedNormalInitialiser(
            options.Require("std").AsNumber(0), options.Number("mean", 0), options.Number("cut", 2, TruncatedNormalInitialiser.SmallestCut));
        choice.RefuseUnknown();
        return initialiser;
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
