using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// Normally distributed about Mean, but for what lies further than Cut deviations away, which is drawn again. The deviation
/// of what is left is smaller than Std: 0.88 of it for a cut of 2.
/// </summary>
/// <param name="Std">The standard deviation before the cut.</param>
/// <param name="Mean">The mean.</param>
/// <param name="Cut">How many deviations from the mean values may lie; at least 0.1.</param>
public sealed record TruncatedNormalInitialiser(double Std, double Mean = 0, double Cut = 2) : Initialiser
{
    internal const double SmallestCut = 0.1;

    /// <inheritdoc/>
    public override string Kind => "truncated_normal";

    private protected override unsafe void Fill(KeyedRandom random, Parameter parameter, ulong first, float* x, int length)
    {
        float mean = (float)Mean, deviation = (float)Std, cut = (float)Math.Max(Cut, SmallestCut);
        random.FillNormal((ulong)parameter.Index, first, x, length, 0, 1);
        for (int i = 0; i < length; i++)
        {
            // The first draw is the tensor's own number, each one after it that of a tensor that there can't be.
            for (ulong draw = 1; !(x[i] >= -cut && x[i] <= cut); draw++) x[i] = random.Normal((uint)parameter.Index | (draw << 32), first + (ulong)i);
            x[i] = MathF.FusedMultiplyAdd(x[i], deviation, mean);
        }
    }
}
