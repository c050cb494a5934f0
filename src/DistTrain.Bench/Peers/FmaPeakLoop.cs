using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using DistTrain.Kernels;

namespace DistTrain.Bench.Peers;

/// <summary>
/// The machine's limit: fused multiply-adds on twelve independent chains, with no memory in it, at the vector width
/// that the kernels use.
/// </summary>
internal static class FmaPeakLoop
{
    private const int Rounds = 20_000;
    private const int Chains = 12;

    private static float _sink;

    /// <summary>Operations of one call on one thread.</summary>
    public static double Work => 2.0 * Rounds * Chains * Lanes;

    private static int Lanes => SimdPath.Current switch
    {
        SimdLevel.Vector512 => 16,
        SimdLevel.Vector256 => 8,
        SimdLevel.Vector128 => 4,
        _ => 1,
    };

    public static void Run(KernelPool? pool)
    {
        if (pool is null) default(Body).Run(0);
        else pool.Run(pool.Threads, default(Body));
    }

    private struct Body : IParallelBody
    {
        public readonly void Run(int part) => _sink = SimdPath.Current switch
        {
            SimdLevel.Vector512 => Loop<Vector512<float>, Fma512>()[0],
            SimdLevel.Vector256 => Loop<Vector256<float>, Fma256>()[0],
            SimdLevel.Vector128 => Loop<Vector128<float>, Fma128>()[0],
            _ => Loop<float, FmaScalar>(),
        };
    }

    // Four times over before the jump back: a short loop may be slowed by where its jump comes to lie.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static T Loop<T, TFma>()
        where T : struct
        where TFma : struct, IFma<T>
    {
        T x = TFma.All(1.0001f), y = TFma.All(0.5f);
        T a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
        for (int n = 0; n < Rounds; n += 4)
        {
            Twelve<T, TFma>(x, y, ref a, ref b, ref c, ref d, ref e, ref f, ref g, ref h, ref i, ref j, ref k, ref l);
            Twelve<T, TFma>(x, y, ref a, ref b, ref c, ref d, ref e, ref f, ref g, ref h, ref i, ref j, ref k, ref l);
            Twelve<T, TFma>(x, y, ref a, ref b, ref c, ref d, ref e, ref f, ref g, ref h, ref i, ref j, ref k, ref l);
            Twelve<T, TFma>(x, y, ref a, ref b, ref c, ref d, ref e, ref f, ref g, ref h, ref i, ref j, ref k, ref l);
        }
        Twelve<T, TFma>(b, c, ref a, ref d, ref e, ref f, ref g, ref h, ref i, ref j, ref k, ref l, ref x, ref y);
        return TFma.Fma(TFma.Fma(a, d, e), TFma.Fma(f, g, h), TFma.Fma(i, j, TFma.Fma(k, l, x)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Twelve<T, TFma>(
        T x, T y, ref T a, ref T b, ref T c, ref T d, ref T e, ref T f, ref T g, ref T h, ref T i, ref T j, ref T k, ref T l)
        where T : struct
        where TFma : struct, IFma<T>
    {
        a = TFma.Fma(a, y, x);
        b = TFma.Fma(b, y, x);
        c = TFma.Fma(c, y, x);
        d = TFma.Fma(d, y, x);
        e = TFma.Fma(e, y, x);
        f = TFma.Fma(f, y, x);
        g = TFma.Fma(g, y, x);
        h = TFma.Fma(h, y, x);
        i = TFma.Fma(i, y, x);
        j = TFma.Fma(j, y, x);
        k = TFma.Fma(k, y, x);
        l = TFma.Fma(l, y, x);
    }

    private interface IFma<T>
    {
        static abstract T All(float value);

        static abstract T Fma(T a, T b, T c);
    }

    private readonly struct Fma512 : IFma<Vector512<float>>
    {
        public static Vector512<float> All(float value) => Vector512.Create(value);

        public static Vector512<float> Fma(Vector512<float> a, Vector512<float> b, Vector512<float> c) => Vector512.FusedMultiplyAdd(a, b, c);
    }

    private readonly struct Fma256 : IFma<Vector256<float>>
    {
        public static Vector256<float> All(float value) => Vector256.Create(value);

        public static Vector256<float> Fma(Vector256<float> a, Vector256<float> b, Vector256<float> c) => Vector256.FusedMultiplyAdd(a, b, c);
    }

    private readonly struct Fma128 : IFma<Vector128<float>>
    {
        public static Vector128<float> All(float value) => Vector128.Create(value);

        public static Vector128<float> Fma(Vector128<float> a, Vector128<float> b, Vector128<float> c) => Vector128.FusedMultiplyAdd(a, b, c);
    }

    private readonly struct FmaScalar : IFma<float>
    {
        public static float All(float value) => value;

        public static float Fma(float a, float b, float c) => MathF.FusedMultiplyAdd(a, b, c);
    }
}
