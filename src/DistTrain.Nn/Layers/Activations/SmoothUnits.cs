using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>
/// y = x·Φ(x), Φ the normal distribution (Hendrycks and Gimpel, 2016), or its approximation
/// ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
/// </summary>
/// <param name="Tanh">Whether to take the approximation.</param>
public sealed record GeluSpec(bool Tanh = false) : LayerSpec
{
    internal const string Name = "gelu";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal static GeluSpec Read(NamedChoice choice)
    {
        ConfigNode? form = choice.HasMainValue ? choice.Options : choice.Options.Find("form");
        bool tanh = form is not null && form.AsText() switch
        {
            "erf" => false,
            "tanh" => true,
            string other => throw form.Error($"expected 'erf' or 'tanh', got '{other}'"),
        };
        choice.RefuseUnknown();
        return new GeluSpec(tanh);
    }

    internal override Layer Compile(LayerBuilder builder) => new FunctionLayer(Tanh ? Function.GeluTanh : Function.Gelu, 0, builder.Input);
}

/// <summary>y = x / (1 + e^-x), also called swish (Elfwing et al., 2018).</summary>
public sealed record SiluSpec : LayerSpec
{
    internal const string Name = "silu";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Layer Compile(LayerBuilder builder) => new FunctionLayer(Function.Silu, 0, builder.Input);
}

/// <summary>y = ln(1 + e^x).</summary>
public sealed record SoftplusSpec : LayerSpec
{
    internal const string Name = "softplus";

    /// <inheritdoc/>
    public override string Kind => Name;

    internal override Layer Compile(LayerBuilder builder) => new FunctionLayer(Function.Softplus, 0, builder.Input);
}
