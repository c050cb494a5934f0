using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>y = x above zero, else slope·x (Maas et al., 2013).</summary>
/// <param name="Slope">The slope below zero.</param>
public sealed record LeakyReluSpec(double Slope = 0.01) : LayerSpec
{
    internal const string Name = "leaky_relu";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static LeakyReluSpec Read(NamedChoice choice)
    {
        if (choice.HasMainValue) return new LeakyReluSpec(choice.Options.AsNumber());
        var spec = new LeakyReluSpec(choice.Options.Number("slope", 0.01));
        choice.RefuseUnknown();
        return spec;
    }

    internal override Layer Compile(LayerBuilder builder) => new FunctionLayer(Function.LeakyRelu, (float)Slope, builder.Input);
}

/// <summary>y = x from zero up, else alpha·(e^x − 1) (Clevert et al., 2016).</summary>
/// <param name="Alpha">What −y tends to below zero; at least 0.</param>
public sealed record EluSpec(double Alpha = 1) : LayerSpec
{
    internal const string Name = "elu";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static EluSpec Read(NamedChoice choice)
    {
        if (choice.HasMainValue) return new EluSpec(choice.Options.AsNumber(0));
        var spec = new EluSpec(choice.Options.Number("alpha", 1, 0));
        choice.RefuseUnknown();
        return spec;
    }

    internal override Layer Compile(LayerBuilder builder)
    {
        if (!(Alpha >= 0)) throw builder.Refuse("an alpha of at least 0", $"it is {Alpha}");
        return new FunctionLayer(Function.Elu, (float)Alpha, builder.Input);
    }
}
