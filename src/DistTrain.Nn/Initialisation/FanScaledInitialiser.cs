using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>What an initialiser's variance is divided by.</summary>
public enum FanMode
{
    /// <summary>The inputs that reach one output (He, LeCun).</summary>
    In,

    /// <summary>The mean of inputs and outputs (Glorot).</summary>
    Average,
}

/// <summary>
/// Zero mean and variance Gain / fan, so that signals keep their size from layer to layer. Glorot and Bengio (2010,
/// 'Understanding the difficulty of training deep feedforward neural networks'): gain 1 over the mean of inputs and
/// outputs, for layers that are about linear near 0. He et al. (2015, 'Delving deep into rectifiers'): gain 2 over
/// the inputs, because a relu passes half of the variance. LeCun et al. (1998, 'Efficient backprop'): gain 1 over the
/// inputs.
/// </summary>
/// <param name="Gain">The variance's numerator.</param>
/// <param name="Fan">Its denominator.</param>
/// <param name="Uniform">Uniform in ±√(3·variance) rather than normal.</param>
public sealed record FanScaledInitialiser(double Gain, FanMode Fan, bool Uniform) : Initialiser
{
    /// <inheritdoc/>
    public override string Kind => $"{(Fan == FanMode.Average ? "glorot" : Gain == 1 ? "lecun" : "he")}_{(Uniform ? "uniform" : "normal")}";

    private protected override unsafe void Fill(KeyedRandom random, Parameter parameter, ulong first, float* x, int length)
    {
        double fan = Fan == FanMode.In ? parameter.FanIn : ((double)parameter.FanIn + parameter.FanOut) / 2;
        double variance = Gain / fan;
        float limit = (float)Math.Sqrt(3 * variance);
        if (Uniform) random.FillUniform((ulong)parameter.Index, first, x, length, -limit, limit);
        else random.FillNormal((ulong)parameter.Index, first, x, length, 0, (float)Math.Sqrt(variance));
    }
}
