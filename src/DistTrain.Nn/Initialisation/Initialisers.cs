namespace DistTrain.Nn;

/// <summary>The initialisers, for descriptions in C#.</summary>
public static class Initialisers
{
    /// <summary>Uniform with variance 2 / (in + out): the default of dense layers, except before a relu.</summary>
    public static Initialiser GlorotUniform { get; } = new FanScaledInitialiser(1, FanMode.Average, Uniform: true);

    /// <summary>Normal with variance 2 / (in + out).</summary>
    public static Initialiser GlorotNormal { get; } = new FanScaledInitialiser(1, FanMode.Average, Uniform: false);

    /// <summary>Uniform with variance 2 / in.</summary>
    public static Initialiser HeUniform { get; } = new FanScaledInitialiser(2, FanMode.In, Uniform: true);

    /// <summary>Normal with variance 2 / in: the default of dense layers directly before a relu.</summary>
    public static Initialiser HeNormal { get; } = new FanScaledInitialiser(2, FanMode.In, Uniform: false);

    /// <summary>Uniform with variance 1 / in.</summary>
    public static Initialiser LeCunUniform { get; } = new FanScaledInitialiser(1, FanMode.In, Uniform: true);

    /// <summary>Normal with variance 1 / in.</summary>
    public static Initialiser LeCunNormal { get; } = new FanScaledInitialiser(1, FanMode.In, Uniform: false);

    /// <summary>Orthogonal rows or columns of length <paramref name="gain"/>. See <see cref="OrthogonalInitialiser"/>.</summary>
    public static Initialiser Orthogonal(double gain = 1) => new OrthogonalInitialiser(gain);

    /// <summary>All 1.</summary>
    public static Initialiser Ones { get; } = new ConstantInitialiser(1);

    /// <summary>All 0: the default of biases.</summary>
    public static Initialiser Zeros { get; } = new ConstantInitialiser(0);

    /// <summary>All <paramref name="value"/>.</summary>
    public static Initialiser Constant(double value) => new ConstantInitialiser(value);

    /// <summary>Uniform in [-<paramref name="limit"/>, <paramref name="limit"/>).</summary>
    public static Initialiser Uniform(double limit) => new UniformInitialiser(limit);

    /// <summary>Normal with mean 0 and standard deviation <paramref name="std"/>.</summary>
    public static Initialiser Normal(double std) => new NormalInitialiser(std);

    /// <summary>The same without what lies further than <paramref name="cut"/> deviations from <paramref name="mean"/>.</summary>
    public static Initialiser TruncatedNormal(double std, double mean = 0, double cut = 2) => new TruncatedNormalInitialiser(std, mean, cut);
}
