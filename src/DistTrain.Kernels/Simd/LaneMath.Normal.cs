using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <content>erf, the normal distribution and the gaussian error linear units.</content>
internal static unsafe partial class LaneMath
{
    /// <summary>erf x: a piecewise polynomial in |x| (<see cref="FunctionTables.Erf"/>), 1 from 4 on, with the sign of x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Erf<T>(T x)
        where T : struct, IArithmetic<T>
    {
        T sign = T.And(x, T.BroadcastBits(SignBit));
        T size = T.Lesser(T.Broadcast(3.999f), T.Xor(x, sign));
        // The rounded piece number stands in the low bits.
        T piece = T.Fma(size, T.Broadcast(3.875f), T.Broadcast(Magic));
        T centre = T.Lookup(FunctionTables.Erf, piece);
        T sum = Piecewise(FunctionTables.Erf, piece, size - centre);
        // About zero it is x + 0.128 x, so that the factor's rounding weighs little.
        T start = T.Select(T.Equal(centre, T.Zero), size, T.Lookup(FunctionTables.Erf + FunctionTables.Row, piece));
        return T.Or(start + sum, sign);
    }

    /// <summary>
    /// x Φ(x) = max(x, 0) - |x| Φ(-|x|), the tail 2^n (c0 + (p (c0 + w) + w)) of <see cref="NormalTail"/> times |x| with
    /// what |x| c0 loses. -∞ gives -0.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Gelu<T>(T x)
        where T : struct, IArithmetic<T>
    {
        T sign = T.And(x, T.BroadcastBits(SignBit));
        T size = T.Lesser(T.Broadcast(14.75f), T.Xor(x, sign));
        T n = NormalTail(size, out T c0, out T w, out T p);
        T product = size * c0;
        T rest = T.Fma(size, T.Fma(p, c0 + w, w), T.Fma(size, c0, T.Zero - product));
        T tail = T.TimesPowerOfTwo(product + rest, n);
        return T.Or(T.Greater(x, T.Zero) - tail, sign);
    }

    /// <summary>The derivative of <see cref="Gelu"/>: Φ(x) + x φ(x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T GeluDerivative<T>(T x)
        where T : struct, IArithmetic<T>
    {
        T sign = T.And(x, T.BroadcastBits(SignBit));
        T size = T.Lesser(T.Broadcast(14.75f), T.Xor(x, sign));
        T n = NormalTail(size, out T c0, out T w, out T p);
        T one = T.Broadcast(1f);
        T e = T.TimesPowerOfTwo(one + p, n);
        T tail = (c0 + w) * e;
        T cumulative = T.Select(T.LessThan(x, T.Zero), tail, one - tail);
        return T.Fma(T.Or(size, sign), e * T.Broadcast(0.398942292f), cumulative);
    }

    /// <summary>
    /// x / (1 + e^-v), v = x (1.5957691 + 0.0713548163 x²): GELU's approximation by tanh (Hendrycks and Gimpel, 2016).
    /// v is rounded as a float is, which costs |v| ulp at most. -∞ gives -0.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T GeluTanh<T>(T x)
        where T : struct, IArithmetic<T>
    {
        T v = x * T.Fma(x * x, T.Broadcast(0.0713548163f), T.Broadcast(1.59576917f));
        return TimesSigmoid(x, v, T.Broadcast(14f));
    }

    /// <summary>The derivative of <see cref="GeluTanh"/>: σ + x σ (1 - σ) v'.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T GeluTanhDerivative<T>(T x)
        where T : struct, IArithmetic<T>
    {
        // Beyond, the derivative is 0 or 1, and v' would overflow.
        x = T.Greater(T.Broadcast(-14f), T.Lesser(T.Broadcast(14f), x));
        T square = x * x;
        T a = T.Broadcast(1.59576917f);
        T s = Sigmoid(x * T.Fma(square, T.Broadcast(0.0713548163f), a));
        T slope = T.Fma(square, T.Broadcast(0.214064449f), a);
        return T.Fma((x * s) * (T.Broadcast(1f) - s), slope, s);
    }

    /// <summary>
    /// Φ(-t) = (c0 + w) e^(-t²/2) for t in [0, 14.75], e^(-t²/2) = 2^n (1 + p). The rounding of t² is made good in the
    /// exponent, so that the tail is as exact as its factors.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T NormalTail<T>(T t, out T c0, out T w, out T p)
        where T : struct, IArithmetic<T>
    {
        T half = T.Broadcast(0.5f) * t;
        T square = t * half;
        T lost = T.Fma(t, half, T.Zero - square);
        T n = T.Fma(square, T.Broadcast(-1.44269502f), T.Broadcast(Magic)) - T.Broadcast(Magic);
        T high = T.Zero - T.Fma(n, T.Broadcast(Ln2High), square);
        T low = T.Zero - T.Fma(n, T.Broadcast(Ln2Low), lost);
        T r = high + low;
        p = Expm1Polynomial(r) + ((high - r) + low);
        // The pieces of 1 + t: its exponent and two bits.
        T piece = T.ShiftRightArithmetic(T.SubtractBits(T.Broadcast(1f) + t, T.BroadcastBits(0x3F800000)), 21);
        c0 = T.Lookup(FunctionTables.NormalTail + FunctionTables.Row, piece);
        w = Piecewise(FunctionTables.NormalTail, piece, t - T.Lookup(FunctionTables.NormalTail, piece));
        return n;
    }

    /// <summary>d·(c1 + d·(… + d·c6)) of the pieces' polynomials.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Piecewise<T>(float* table, T piece, T d)
        where T : struct, IArithmetic<T>
    {
        T sum = T.Lookup(table + (7 * FunctionTables.Row), piece);
        sum = T.Fma(sum, d, T.Lookup(table + (6 * FunctionTables.Row), piece));
        sum = T.Fma(sum, d, T.Lookup(table + (5 * FunctionTables.Row), piece));
        sum = T.Fma(sum, d, T.Lookup(table + (4 * FunctionTables.Row), piece));
        sum = T.Fma(sum, d, T.Lookup(table + (3 * FunctionTables.Row), piece));
        sum = T.Fma(sum, d, T.Lookup(table + (2 * FunctionTables.Row), piece));
        return sum * d;
    }
}
