using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// Where a tensor's first values come from. A value is a function of (seed, tensor, element) alone, so any range of the
/// model can be initialised by anyone.
/// </summary>
public abstract record Initialiser
{
    // "INIT": keeps these numbers apart from those of other purposes under the same seed.
    private protected const uint Purpose = 0x494E4954;

    /// <summary>The name in a job.</summary>
    public abstract string Kind { get; }

    /// <summary>Reads an initialiser: <c>he_normal</c>, <c>{ constant: 0.1 }</c>, <c>{ normal: { std: 0.02 } }</c>.</summary>
    /// <exception cref="Core.DistTrainException">It is unknown (with the nearest spelling), or an option is wrong.</exception>
    public static Initialiser FromConfig(ConfigNode node) => InitialiserCatalog.Read(node);

    /// <summary>Reads an option that is an initialiser; null when it is not there.</summary>
    internal static Initialiser? Read(ConfigNode options, string key) => options.Find(key) is { } node ? FromConfig(node) : null;

    /// <summary>Writes the elements from <paramref name="first"/> on of the tensor of this place in the layout.</summary>
    internal unsafe void Fill(ulong seed, Parameter parameter, long first, Span<float> destination)
    {
        fixed (float* x = destination) Fill(new KeyedRandom(seed, Purpose), parameter, (ulong)first, x, destination.Length);
    }

    private protected abstract unsafe void Fill(KeyedRandom random, Parameter parameter, ulong first, float* x, int length);
}

/// <summary>Every element the same value.</summary>
/// <param name="Value">The value.</param>
public sealed record ConstantInitialiser(double Value) : Initialiser
{
    /// <inheritdoc/>
    public override string Kind => "constant";

    private protected override unsafe void Fill(KeyedRandom random, Parameter parameter, ulong first, float* x, int length) =>
        Elementwise.Fill(x, length, (float)Value);
}

/// <summary>Evenly distributed in [-Limit, Limit).</summary>
/// <param name="Limit">The bound.</param>
public sealed record UniformInitialiser(double Limit) : Initialiser
{
    /// <inheritdoc/>
    public override string Kind => "uniform";

    private protected override unsafe void Fill(KeyedRandom random, Parameter parameter, ulong first, float* x, int length) =>
        random.FillUniform((ulong)parameter.Index, first, x, length, (float)-Limit, (float)Limit);
}

/// <summary>Normally distributed about 0.</summary>
/// <param name="Std">The standard deviation.</param>
public sealed record NormalInitialiser(double Std) : Initialiser
{
    /// <inheritdoc/>
    public override string Kind => "normal";

    private protected override unsafe void Fill(KeyedRandom random, Parameter parameter, ulong first, float* x, int length) =>
        random.FillNormal((ulong)parameter.Index, first, x, length, 0, (float)Std);
}
