using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Functions over 16 lanes: fixed polynomials with fused multiply-adds, at most 2 ulp off over the
/// whole range, denormals kept, NaN through. Sqrt and division are the hardware's own, which IEEE rounds exactly.
/// </summary>
internal static partial class LaneMath
{
    private const float Ln2High = 0.693145751953125f;      // 15 bits, so that n * Ln2High is exact
    private const float Ln2Low = 1.42860677e-06f;
    private const float Magic = 12582912f;                 // 1.5 * 2^23: adding it rounds to an integer in the low bits
    private const int SignBit = unchecked((int)0x80000000);

    /// <summary>
    /// e^x. n = round(x/ln 2), r = x - n ln 2, e^r = 1 + r + r² q(r), times 2^n, rounded once there.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Exp<T>(T x)
        where T : struct, IArithmetic<T>
    {
        // Beyond these the result is infinity or +0 anyway; a NaN passes both.
        T n = Exponent(T.Greater(T.Broadcast(-104f), T.Lesser(T.Broadcast(89f), x)), out T r);
        T p = T.Broadcast(1f) + Expm1Polynomial(r);
        return T.TimesPowerOfTwo(p, n);
    }

    /// <summary>n = round(x/ln 2) and r = x - n ln 2, for |x| up to 120.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Exponent<T>(T x, out T r)
        where T : struct, IArithmetic<T>
    {
        T n = T.Fma(x, T.Broadcast(1.44269502f), T.Broadcast(Magic)) - T.Broadcast(Magic);
        r = T.Fma(n, T.Broadcast(-Ln2Low), T.Fma(n, T.Broadcast(-Ln2High), x));
        return n;
    }

    /// <summary>e^r - 1 = r + r² q(r) for |r| up to ln(2)/2.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Expm1Polynomial<T>(T r)
        where T : struct, IArithmetic<T>
    {
        T q = T.Broadcast(0.000198911031f);
        q = T.Fma(q, r, T.Broadcast(0.0013933751f));
        q = T.Fma(q, r, T.Broadcast(0.00833331048f));
        q = T.Fma(q, r, T.Broadcast(0.041666463f));
        q = T.Fma(q, r, T.Broadcast(0.166666672f));
        q = T.Fma(q, r, T.Broadcast(0.5f));
        return T.Fma(q, r * r, r);
    }

    /// <summary>
    /// ln x. x = 2^e m with m in [√½, √2), f = m - 1: ln m = f - f²/2 + f³ p(f). Zero gives -∞, less gives NaN.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Log<T>(T x)
        where T : struct, IArithmetic<T>
    {
        T denormal = T.LessThan(x, T.BroadcastBits(0x00800000));
        T scaled = T.Select(denormal, x * T.Broadcast(8388608f), x);
        // Taking √½ off the bits puts the cut between exponents there.
        T moved = T.SubtractBits(scaled, T.BroadcastBits(0x3F3504F3));
        T e = T.BitsToFloat(T.ShiftRightArithmetic(moved, 23));
        e = e - T.And(denormal, T.Broadcast(23f));
        T m = T.AddBits(T.And(moved, T.BroadcastBits(0x007FFFFF)), T.BroadcastBits(0x3F3504F3));
        T f = m - T.Broadcast(1f);
        T result = LogPolynomial(f, e);
        T infinity = T.Broadcast(float.PositiveInfinity);
        result = T.Select(T.Equal(x, infinity), infinity, result);
        result = T.Select(T.Equal(x, T.Zero), T.Broadcast(float.NegativeInfinity), result);
        T ordered = T.Equal(x, x);
        T negative = T.LessThan(x, T.Zero);
        return T.Select(negative, T.Broadcast(float.NaN), T.Select(ordered, result, x));
    }

    /// <summary>ln(1 + f) + e ln 2 for 1 + f in [√½, √2).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T LogPolynomial<T>(T f, T e)
        where T : struct, IArithmetic<T>
    {
        T p = T.Broadcast(0.0697427541f);
        p = T.Fma(p, f, T.Broadcast(-0.114818826f));
        p = T.Fma(p, f, T.Broadcast(0.116854988f));
        p = T.Fma(p, f, T.Broadcast(-0.124254234f));
        p = T.Fma(p, f, T.Broadcast(0.142490223f));
        p = T.Fma(p, f, T.Broadcast(-0.166678116f));
        p = T.Fma(p, f, T.Broadcast(0.20000717f));
        p = T.Fma(p, f, T.Broadcast(-0.24999997f));
        p = T.Fma(p, f, T.Broadcast(0.333333313f));
        T square = f * f;
        T tail = T.Fma(p, square * f, T.Fma(e, T.Broadcast(Ln2Low), square * T.Broadcast(-0.5f)));
        return T.Fma(e, T.Broadcast(Ln2High), f + tail);
    }

    /// <summary>tanh x: x + x³ t(x²) below 0.625, else 1 - 2/(e^2|x| + 1) with the sign of x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Tanh<T>(T x)
        where T : struct, IArithmetic<T>
    {
        T sign = T.And(x, T.BroadcastBits(SignBit));
        T size = T.Xor(x, sign);
        T u = x * x;
        T t = T.Broadcast(0.00229280721f);
        t = T.Fma(t, u, T.Broadcast(-0.00834400021f));
        t = T.Fma(t, u, T.Broadcast(0.021768935f));
        t = T.Fma(t, u, T.Broadcast(-0.0539592616f));
        t = T.Fma(t, u, T.Broadcast(0.133333042f));
        t = T.Fma(t, u, T.Broadcast(-0.333333343f));
        T small = T.Fma(t, u * x, x);
        T one = T.Broadcast(1f);
        T large = one - (T.Broadcast(2f) / (Exp(size + size) + one));
        return T.Or(T.Select(T.LessThan(size, T.Broadcast(0.625f)), small, large), sign);
    }

    /// <summary>1/(1 + e^-x): with t = 1/(1 + e^|x|), that is t below zero and 1 - t from zero up.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Sigmoid<T>(T x)
        where T : struct, IArithmetic<T>
    {
        T one = T.Broadcast(1f);
        T t = SigmoidTail(one, x);
        return T.Select(T.LessThan(x, T.Zero), t, one - t);
    }

    /// <summary>
    /// a/(1 + e^|v|): with e^|v| = 2^n (1 + p), that is 2^-n (a / (1 + 2^-n + p)).
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T SigmoidTail<T>(T a, T v)
        where T : struct, IArithmetic<T>
    {
        T one = T.Broadcast(1f);
        T size = T.Xor(v, T.And(v, T.BroadcastBits(SignBit)));
        T n = T.Zero - Exponent(T.Lesser(T.Broadcast(120f), size), out T r);
        T power = T.TimesPowerOfTwo(one, n);
        T sum = one + power;
        // Up to n = 23 the sum is exact; beyond, what it loses is added to p, so that the divisor is rounded once.
        T divisor = sum + (Expm1Polynomial(r) + (power - (sum - one)));
        return T.TimesPowerOfTwo(a / divisor, n);
    }
}
