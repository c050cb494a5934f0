using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
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
            SimdLevel.Vector512 => Run512(),
            SimdLevel.Vector256 => Run256(),
            SimdLevel.Vector128 => Run128(),
            _ => RunScalar(),
        };
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Run512()
    {
        Vector512<float> x = Vector512.Create(1.0001f), y = Vector512.Create(0.5f);
        Vector512<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
        for (int n = 0; n < Rounds; n++)
        {
            a = Avx512F.FusedMultiplyAdd(a, y, x);
            b = Avx512F.FusedMultiplyAdd(b, y, x);
            c = Avx512F.FusedMultiplyAdd(c, y, x);
            d = Avx512F.FusedMultiplyAdd(d, y, x);
            e = Avx512F.FusedMultiplyAdd(e, y, x);
            f = Avx512F.FusedMultiplyAdd(f, y, x);
            g = Avx512F.FusedMultiplyAdd(g, y, x);
            h = Avx512F.FusedMultiplyAdd(h, y, x);
            i = Avx512F.FusedMultiplyAdd(i, y, x);
            j = Avx512F.FusedMultiplyAdd(j, y, x);
            k = Avx512F.FusedMultiplyAdd(k, y, x);
            l = Avx512F.FusedMultiplyAdd(l, y, x);
        }
        return (a + b + c + d + e + f + g + h + i + j + k + l)[0];
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Run256()
    {
        Vector256<float> x = Vector256.Create(1.0001f), y = Vector256.Create(0.5f);
        Vector256<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
        for (int n = 0; n < Rounds; n++)
        {
            a = Vector256.FusedMultiplyAdd(a, y, x);
            b = Vector256.FusedMultiplyAdd(b, y, x);
            c = Vector256.FusedMultiplyAdd(c, y, x);
            d = Vector256.FusedMultiplyAdd(d, y, x);
            e = Vector256.FusedMultiplyAdd(e, y, x);
            f = Vector256.FusedMultiplyAdd(f, y, x);
            g = Vector256.FusedMultiplyAdd(g, y, x);
            h = Vector256.FusedMultiplyAdd(h, y, x);
            i = Vector256.FusedMultiplyAdd(i, y, x);
            j = Vector256.FusedMultiplyAdd(j, y, x);
            k = Vector256.FusedMultiplyAdd(k, y, x);
            l = Vector256.FusedMultiplyAdd(l, y, x);
        }
        return (a + b + c + d + e + f + g + h + i + j + k + l)[0];
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Run128()
    {
        Vector128<float> x = Vector128.Create(1.0001f), y = Vector128.Create(0.5f);
        Vector128<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
        for (int n = 0; n < Rounds; n++)
        {
            a = Vector128.FusedMultiplyAdd(a, y, x);
            b = Vector128.FusedMultiplyAdd(b, y, x);
            c = Vector128.FusedMultiplyAdd(c, y, x);
            d = Vector128.FusedMultiplyAdd(d, y, x);
            e = Vector128.FusedMultiplyAdd(e, y, x);
            f = Vector128.FusedMultiplyAdd(f, y, x);
            g = Vector128.FusedMultiplyAdd(g, y, x);
            h = Vector128.FusedMultiplyAdd(h, y, x);
            i = Vector128.FusedMultiplyAdd(i, y, x);
            j = Vector128.FusedMultiplyAdd(j, y, x);
            k = Vector128.FusedMultiplyAdd(k, y, x);
            l = Vector128.FusedMultiplyAdd(l, y, x);
        }
        return (a + b + c + d + e + f + g + h + i + j + k + l)[0];
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float RunScalar()
    {
        float x = 1.0001f, y = 0.5f;
        float a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
        for (int n = 0; n < Rounds; n++)
        {
            a = MathF.FusedMultiplyAdd(a, y, x);
            b = MathF.FusedMultiplyAdd(b, y, x);
            c = MathF.FusedMultiplyAdd(c, y, x);
            d = MathF.FusedMultiplyAdd(d, y, x);
            e = MathF.FusedMultiplyAdd(e, y, x);
            f = MathF.FusedMultiplyAdd(f, y, x);
            g = MathF.FusedMultiplyAdd(g, y, x);
            h = MathF.FusedMultiplyAdd(h, y, x);
            i = MathF.FusedMultiplyAdd(i, y, x);
            j = MathF.FusedMultiplyAdd(j, y, x);
            k = MathF.FusedMultiplyAdd(k, y, x);
            l = MathF.FusedMultiplyAdd(l, y, x);
        }
        return a + b + c + d + e + f + g + h + i + j + k + l;
    }
}
