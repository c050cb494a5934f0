using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <content>e^x - 1, ln(1 + x) and what follows from them.</content>
internal static partial class LaneMath
{
    /// <summary>
    /// e^x - 1. With e^x = 2^n (1 + p): 2 (2^(n-1) p + (2^(n-1) - ½)), which is p itself for n = 0. The sign is x's.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Expm1<T>(T x)
        where T : struct, IArithmetic<T>
    {
        // From -18 down the result is -1, from 89 up infinity.
        T n = Exponent(T.Greater(T.Broadcast(-18f), T.Lesser(T.Broadcast(89f), x)), out T r);
        T p = Expm1Polynomial(r);
        T half = T.TimesPowerOfTwo(T.Broadcast(0.5f), n);
        T result = T.Fma(half, p, half - T.Broadcast(0.5f));
        return T.Or(result + result, T.And(x, T.BroadcastBits(SignBit)));
    }

    /// <summary>ln(1 + x): -∞ at -1, NaN below; the sign is x's.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Log1p<T>(T x)
        where T : struct, IArithmetic<T>
    {
        T infinity = T.Broadcast(float.PositiveInfinity);
        T minusOne = T.Broadcast(-1f);
        T result = Log1pFinite(x);
        result = T.Select(T.Equal(x, infinity), infinity, result);
        result = T.Select(T.Equal(x, minusOne), T.Broadcast(float.NegativeInfinity), result);
        result = T.Select(T.LessThan(x, minusOne), T.Broadcast(float.NaN), result);
        return T.Or(result, T.And(x, T.BroadcastBits(SignBit)));
    }

    /// <summary>ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Softplus<T>(T x)
        where T : struct, IArithmetic<T>
    {
        T z = Exp(T.Or(x, T.BroadcastBits(SignBit)));
        return T.Greater(x, T.Zero) + Log1pFinite(z);
    }

    /// <summary>x / (1 + e^-x) = max(x, 0) - |x| / (1 + e^|x|); -∞ gives -0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Silu<T>(T x)
        where T : struct, IArithmetic<T> => TimesSigmoid(x, x, T.Broadcast(120f));

    /// <summary>x / (1 + e^-v) for a v of x's sign; from <paramref name="limit"/> on, |x| makes no difference below zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T TimesSigmoid<T>(T x, T v, T limit)
        where T : struct, IArithmetic<T>
    {
        T sign = T.And(x, T.BroadcastBits(SignBit));
        T tail = SigmoidTail(T.Lesser(limit, T.Xor(x, sign)), v);
        return T.Or(T.Greater(x, T.Zero) - tail, sign);
    }

    /// <summary>The derivative of <see cref="Silu"/>: σ + x σ (1 - σ).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T SiluDerivative<T>(T x)
        where T : struct, IArithmetic<T>
    {
        // Beyond, the derivative is 0 or 1, and infinity times zero would be NaN.
        x = T.Greater(T.Broadcast(-120f), T.Lesser(T.Broadcast(120f), x));
        T s = Sigmoid(x);
        return T.Fma(x * s, T.Broadcast(1f) - s, s);
    }

    /// <summary>
    /// ln(1 + x) above -1, infinity apart. u = 1 + x loses c = x - (u - 1): ln(1 + x) = e ln 2 + ln(1 + (m - 1 + c 2^-e))
    /// for u = 2^e m.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Log1pFinite<T>(T x)
        where T : struct, IArithmetic<T>
    {
        T one = T.Broadcast(1f);
        T u = one + x;
        T c = x - (u - one);
        T moved = T.SubtractBits(u, T.BroadcastBits(0x3F3504F3));
        T e = T.BitsToFloat(T.ShiftRightArithmetic(moved, 23));
        T m = T.AddBits(T.And(moved, T.BroadcastBits(0x007FFFFF)), T.BroadcastBits(0x3F3504F3));
        return LogPolynomial((m - one) + T.TimesPowerOfTwo(c, T.Zero - e), e);
    }
}
