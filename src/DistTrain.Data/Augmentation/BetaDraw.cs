using DistTrain.Kernels;

namespace DistTrain.Data;

/// <summary>Beta(α, α) from keyed random numbers, as one gamma variate's share of two.</summary>
internal static class BetaDraw
{
    // Elements of one attempt: a normal and a uniform number, of different blocks of the generator.
    private const int Attempt = 8;
    private const int OfUniform = 4;

    // The second variate's elements; no variate takes 2^13 attempts.
    private const int Second = 1 << 16;

    /// <summary>A value in [0, 1].</summary>
    /// <param name="draws">Its random numbers.</param>
    /// <param name="first">The first of them, a multiple of 8; 2^17 from there on belong to it.</param>
    /// <param name="alpha">Above 0.</param>
    public static double Take(Draws draws, int first, double alpha)
    {
        // Logarithms, because with a small α both variates may be too small for a double.
        double one = LogGamma(draws, first, alpha), other = LogGamma(draws, first + Second, alpha);
        return 1 / (1 + ScalarMath.Exp(other - one));
    }

    // ln of a Gamma(α, 1) variate (Marsaglia and Tsang, 2000, 'A simple method for generating gamma variables'): below α = 1 that
    // of α + 1 times u^(1/α).
    private static double LogGamma(Draws draws, int first, double alpha)
    {
        double boost = alpha < 1 ? ScalarMath.Log(Above0(draws, first)) / alpha : 0;
        double d = (alpha < 1 ? alpha + 1 : alpha) - (1.0 / 3), c = 1 / Math.Sqrt(9 * d);
        for (int at = first + Attempt; ; at += Attempt)
        {
            double x = draws.Normal(at), root = 1 + (c * x);
            if (root <= 0) continue;
            double logV = 3 * ScalarMath.Log(root), v = root * root * root;
            if (ScalarMath.Log(Above0(draws, at + OfUniform)) < (0.5 * x * x) + (d * (1 - v + logV))) return ScalarMath.Log(d) + logV + boost;
        }
    }

    // Uniform numbers lie on a grid of 2^-24 from 0 on: this is between its points.
    private static double Above0(Draws draws, int draw) => draws.Uniform(draw) + (1.0 / (1 << 25));
}
