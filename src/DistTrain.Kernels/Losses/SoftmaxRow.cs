using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// The passes over one row that softmax and its losses are made of; a row stays in the nearer caches between them. Each
/// is a method by itself: together they would be more than the JIT is willing to inline.
/// </summary>
internal static unsafe class SoftmaxRow
{
    /// <summary>
    /// The largest value, NaN left out, -∞ when there is none. A NaN reaches the results by way of the sum; which of
    /// two zeros is found does not show there.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static float Max<T>(float* x, nint length)
        where T : struct, ILanes<T>
    {
        T lowest = T.Broadcast(float.NegativeInfinity);
        T a = lowest;
        nint i = 0;
        if (length >= 64)
        {
            T b = lowest, c = lowest, d = lowest;
            for (; i <= length - 64; i += 64)
            {
                a = T.Greater(T.Load(x + i), a);
                b = T.Greater(T.Load(x + i + 16), b);
                c = T.Greater(T.Load(x + i + 32), c);
                d = T.Greater(T.Load(x + i + 48), d);
            }
            a = T.Greater(T.Greater(a, b), T.Greater(c, d));
        }
        for (; i <= length - 16; i += 16) a = T.Greater(T.Load(x + i), a);
        if (i < length)
        {
            int rest = (int)(length - i);
            a = T.Select(T.FirstLanes(rest), T.Greater(T.LoadPartial(x + i, rest), a), a);
        }
        return T.First(T.LargestInAll(a));
    }

    /// <summary>e_i = exp(x_i - max) into <paramref name="e"/>, which may be x or null; gives their sum.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static float Exponentials<T>(float* x, float* e, nint length, float largest)
        where T : struct, ILanes<T>
    {
        T max = T.Broadcast(largest);
        T sum = T.Zero;
        nint i = 0;
        for (; LaneMath.InFours<T>() && i <= length - 64; i += 64)
        {
            T v0 = T.Load(x + i) - max;
            T v1 = T.Load(x + i + 16) - max;
            T v2 = T.Load(x + i + 32) - max;
            T v3 = T.Load(x + i + 48) - max;
            LaneMath.ExpUpTo89(ref v0, ref v1, ref v2, ref v3);
            if (e != null)
            {
                T.Store(e + i, v0);
                T.Store(e + i + 16, v1);
                T.Store(e + i + 32, v2);
                T.Store(e + i + 48, v3);
            }
            sum = sum + v0 + v1 + v2 + v3;
        }
        for (; i <= length - 16; i += 16)
        {
            T v = LaneMath.ExpUpTo89(T.Load(x + i) - max);
            if (e != null) T.Store(e + i, v);
            sum += v;
        }
        if (i < length)
        {
            int rest = (int)(length - i);
            T v = T.And(LaneMath.ExpUpTo89(T.LoadPartial(x + i, rest) - max), T.FirstLanes(rest));
            if (e != null) T.StorePartial(e + i, v, rest);
            sum += v;
        }
        return T.Sum(sum);
    }

    /// <summary>p_i = e_i / sum.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static void Divide<T>(float* e, float* p, nint length, float divisor)
        where T : struct, ILanes<T>
    {
        T sum = T.Broadcast(divisor);
        nint i = 0;
        for (; i <= length - 16; i += 16) T.Store(p + i, T.Load(e + i) / sum);
        int rest = (int)(length - i);
        if (rest > 0) T.StorePartial(p + i, T.LoadPartial(e + i, rest) / sum, rest);
    }
}
