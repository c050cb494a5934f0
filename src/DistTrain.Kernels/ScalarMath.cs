namespace DistTrain.Kernels;

/// <summary>
/// exp, log, pow, cos and sin in double, for what is computed once and reaches weights: schedules, bias corrections,
/// initialisers. Our own fixed series with fused multiply-adds, so that the bits do not depend on the C library;
/// within about one unit in the last place.
/// </summary>
public static class ScalarMath
{
    private const double Ln2High = 0.693147180369123816490;    // 33 bits, so that n * Ln2High is exact
    private const double Ln2Low = 1.90821492927058770002e-10;
    private const double HalfPiHigh = 1.57079632673412561417;  // 33 bits
    private const double HalfPiMiddle = 6.07710050630396597660e-11;
    private const double HalfPiLow = 2.02226624879595063154e-21;

    /// <summary>e^x.</summary>
    public static double Exp(double x)
    {
        if (double.IsNaN(x)) return x;
        if (x > 709.8) return double.PositiveInfinity;
        if (x < -745.2) return 0;
        double n = Math.Round(x * 1.44269504088896340736, MidpointRounding.ToEven);
        double r = Math.FusedMultiplyAdd(n, -Ln2High, x);
        r = Math.FusedMultiplyAdd(n, -Ln2Low, r);
        // Taylor: |r| <= ln 2 / 2, so the first term left out is below 2^-60.
        double sum = 1.0 / 6227020800;
        double factorial = 479001600;
        for (int i = 12; i >= 2; i--)
        {
            sum = Math.FusedMultiplyAdd(sum, r, 1 / factorial);
            factorial /= i;
        }
        double p = 1 + Math.FusedMultiplyAdd(sum, r * r, r);
        int half = (int)n / 2;
        return p * PowerOfTwo(half) * PowerOfTwo((int)n - half);
    }

    /// <summary>ln x: -∞ at zero, NaN below.</summary>
    public static double Log(double x)
    {
        if (double.IsNaN(x) || x == double.PositiveInfinity) return x;
        if (x == 0) return double.NegativeInfinity;
        if (x < 0) return double.NaN;
        int exponent = 0;
        if (x < 2.2250738585072014e-308)
        {
            x *= 18014398509481984.0;
            exponent = -54;
        }
        // x = 2^e m with m in [√½, √2); ln m = 2 artanh(s), s = (m-1)/(m+1).
        long moved = BitConverter.DoubleToInt64Bits(x) - 0x3FE6A09E667F3BCD;
        exponent += (int)(moved >> 52);
        double m = BitConverter.Int64BitsToDouble((moved & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD);
        double f = m - 1;
        double s = f / (2 + f);
        double z = s * s;
        double sum = 1.0 / 25;
        for (int i = 23; i >= 3; i -= 2) sum = Math.FusedMultiplyAdd(sum, z, 1.0 / i);
        // 2s = f - s·f, which keeps f's leading bits exact.
        double tail = Math.FusedMultiplyAdd(2 * s, z * sum, Math.FusedMultiplyAdd(exponent, Ln2Low, -(s * f)));
        return Math.FusedMultiplyAdd(exponent, Ln2High, f + tail);
    }

    /// <summary>x^n by repeated squaring, from the lowest bit of n up; 1/x^|n| for a negative n.</summary>
    public static double Pow(double x, long n)
    {
        ulong left = n < 0 ? (ulong)-n : (ulong)n;
        double result = 1;
        for (double square = x; left != 0; left >>= 1, square *= square)
        {
            if ((left & 1) != 0) result *= square;
        }
        return n < 0 ? 1 / result : result;
    }

    /// <summary>x^y for x &gt; 0, as exp(y ln x); x^0 is 1 and 0^y is 0 for y &gt; 0.</summary>
    public static double Pow(double x, double y)
    {
        if (y == 0) return 1;
        return x == 0 && y > 0 ? 0 : Exp(y * Log(x));
    }

    /// <summary>cos x, for |x| up to about a million.</summary>
    public static double Cos(double x) => Circle(x, quadrantShift: 1);

    /// <summary>sin x, for |x| up to about a million.</summary>
    public static double Sin(double x) => Circle(x, quadrantShift: 0);

    private static double Circle(double x, int quadrantShift)
    {
        if (!double.IsFinite(x)) return double.NaN;
        double n = Math.Round(x * 0.63661977236758134308, MidpointRounding.ToEven);
        double r = Math.FusedMultiplyAdd(n, -HalfPiHigh, x);
        r = Math.FusedMultiplyAdd(n, -HalfPiMiddle, r);
        r = Math.FusedMultiplyAdd(n, -HalfPiLow, r);
        long quadrant = ((long)n + quadrantShift) & 3;
        double value = (quadrant & 1) == 0 ? SinSeries(r) : CosSeries(r);
        return quadrant >= 2 ? -value : value;
    }

    // Taylor on |r| <= π/4: the terms left out are below 2^-58.
    private static double SinSeries(double r)
    {
        double z = r * r;
        double sum = 1.0 / 355687428096000;
        sum = Math.FusedMultiplyAdd(sum, z, -1.0 / 1307674368000);
        sum = Math.FusedMultiplyAdd(sum, z, 1.0 / 6227020800);
        sum = Math.FusedMultiplyAdd(sum, z, -1.0 / 39916800);
        sum = Math.FusedMultiplyAdd(sum, z, 1.0 / 362880);
        sum = Math.FusedMultiplyAdd(sum, z, -1.0 / 5040);
        sum = Math.FusedMultiplyAdd(sum, z, 1.0 / 120);
        sum = Math.FusedMultiplyAdd(sum, z, -1.0 / 6);
        return Math.FusedMultiplyAdd(sum, z * r, r);
    }

    private static double CosSeries(double r)
    {
        double z = r * r;
        double sum = 1.0 / 20922789888000;
        sum = Math.FusedMultiplyAdd(sum, z, -1.0 / 87178291200);
        sum = Math.FusedMultiplyAdd(sum, z, 1.0 / 479001600);
        sum = Math.FusedMultiplyAdd(sum, z, -1.0 / 3628800);
        sum = Math.FusedMultiplyAdd(sum, z, 1.0 / 40320);
        sum = Math.FusedMultiplyAdd(sum, z, -1.0 / 720);
        sum = Math.FusedMultiplyAdd(sum, z, 1.0 / 24);
        sum = Math.FusedMultiplyAdd(sum, z, -0.5);
        return Math.FusedMultiplyAdd(sum, z, 1);
    }

    private static double PowerOfTwo(int n) => BitConverter.Int64BitsToDouble((long)(n + 1023) << 52);
}
