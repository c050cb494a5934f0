namespace DistTrain.Kernels.Tests;

/// <summary>Functions in double, good to about 1e-14, that the class library lacks.</summary>
internal static class Oracle
{
    /// <summary>1 - erf x: the series of erf below 2.5, the continued fraction from there.</summary>
    public static double Erfc(double x)
    {
        if (x < 0) return 2 - Erfc(-x);
        if (x < 2.5) return 1 - ErfSeries(x);
        if (x > 40) return 0;
        double fraction = x;
        for (int i = 120; i >= 1; i--) fraction = x + (i * 0.5 / fraction);
        return Math.Exp(-x * x) / (fraction * Math.Sqrt(Math.PI));
    }

    public static double Erf(double x)
    {
        double size = Math.Abs(x);
        return double.IsNaN(x) ? x : Math.CopySign(size < 2.5 ? ErfSeries(size) : 1 - Erfc(size), x);
    }

    public static double Gelu(double x)
    {
        if (double.IsInfinity(x)) return x < 0 ? 0 : x;
        return double.IsNaN(x) ? x : 0.5 * x * Erfc(-x * Math.Sqrt(0.5));
    }

    public static double Expm1(double x) => Math.Abs(x) < 0.5 ? 2 * Math.Sinh(x / 2) * Math.Exp(x / 2) : Math.Exp(x) - 1;

    /// <summary>Kahan's formula.</summary>
    public static double Log1p(double x)
    {
        double u = 1 + x;
        return u == 1 || double.IsPositiveInfinity(x) ? x : Math.Log(u) * (x / (u - 1));
    }

    private static double ErfSeries(double x)
    {
        double term = x, sum = x;
        for (int i = 1; Math.Abs(term) > 1e-18 * Math.Abs(sum); i++)
        {
            term *= 2 * x * x / ((2 * i) + 1);
            sum += term;
        }
        return x == 0 ? x : sum * Math.Exp(-x * x) * 2 / Math.Sqrt(Math.PI);
    }
}
