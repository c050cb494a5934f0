using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// C = A·Bᵀ for one or two rows with AVX-512: B goes by whole cache lines, 16 rows of 16, transposed in registers. Its
/// rows often lie a multiple of 4,096 bytes apart, where the L1 cache holds only 8 of their lines: each is read once.
/// </summary>
internal static unsafe class TransposedTile512
{
    /// <summary>Does 16 columns of C over the whole sixteens of k; gives how far it came.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static nint Run<TRows>(float* a0, float* a1, float* b, nint columnB, nint depth, float* c0, float* c1)
        where TRows : struct, ICount
    {
        Vector512<float> s = Vector512<float>.Zero, t = Vector512<float>.Zero;
        float* b4 = b + (4 * columnB);
        float* b8 = b4 + (4 * columnB);
        float* b12 = b8 + (4 * columnB);
        nint r2 = 2 * columnB, r3 = 3 * columnB;
        nint k = 0;
        for (; k <= depth - 16; k += 16)
        {
            Quads(b + k, columnB, r2, r3, out Vector512<float> q00, out Vector512<float> q01, out Vector512<float> q02, out Vector512<float> q03);
            Quads(b4 + k, columnB, r2, r3, out Vector512<float> q10, out Vector512<float> q11, out Vector512<float> q12, out Vector512<float> q13);
            Quads(b8 + k, columnB, r2, r3, out Vector512<float> q20, out Vector512<float> q21, out Vector512<float> q22, out Vector512<float> q23);
            Quads(b12 + k, columnB, r2, r3, out Vector512<float> q30, out Vector512<float> q31, out Vector512<float> q32, out Vector512<float> q33);
            Quarters(q00, q10, q20, q30, out Vector512<float> x0, out Vector512<float> x4, out Vector512<float> x8, out Vector512<float> x12);
            Quarters(q01, q11, q21, q31, out Vector512<float> x1, out Vector512<float> x5, out Vector512<float> x9, out Vector512<float> x13);
            Quarters(q02, q12, q22, q32, out Vector512<float> x2, out Vector512<float> x6, out Vector512<float> x10, out Vector512<float> x14);
            Quarters(q03, q13, q23, q33, out Vector512<float> x3, out Vector512<float> x7, out Vector512<float> x11, out Vector512<float> x15);
            Step<TRows>(a0, a1, k + 0, x0, ref s, ref t);
            Step<TRows>(a0, a1, k + 1, x1, ref s, ref t);
            Step<TRows>(a0, a1, k + 2, x2, ref s, ref t);
            Step<TRows>(a0, a1, k + 3, x3, ref s, ref t);
            Step<TRows>(a0, a1, k + 4, x4, ref s, ref t);
            Step<TRows>(a0, a1, k + 5, x5, ref s, ref t);
            Step<TRows>(a0, a1, k + 6, x6, ref s, ref t);
            Step<TRows>(a0, a1, k + 7, x7, ref s, ref t);
            Step<TRows>(a0, a1, k + 8, x8, ref s, ref t);
            Step<TRows>(a0, a1, k + 9, x9, ref s, ref t);
            Step<TRows>(a0, a1, k + 10, x10, ref s, ref t);
            Step<TRows>(a0, a1, k + 11, x11, ref s, ref t);
            Step<TRows>(a0, a1, k + 12, x12, ref s, ref t);
            Step<TRows>(a0, a1, k + 13, x13, ref s, ref t);
            Step<TRows>(a0, a1, k + 14, x14, ref s, ref t);
            Step<TRows>(a0, a1, k + 15, x15, ref s, ref t);
        }
        s.Store(c0);
        if (TRows.Count > 1) t.Store(c1);
        return k;
    }

    /// <summary>Transposes four rows of 16 by 4 within their quarters: column 4h + c of them is quarter h of the c-th result.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Quads(
        float* b, nint r1, nint r2, nint r3, out Vector512<float> q0, out Vector512<float> q1, out Vector512<float> q2, out Vector512<float> q3)
    {
        Vector512<float> v0 = Vector512.Load(b), v1 = Vector512.Load(b + r1), v2 = Vector512.Load(b + r2), v3 = Vector512.Load(b + r3);
        Vector512<double> low01 = Avx512F.UnpackLow(v0, v1).AsDouble(), high01 = Avx512F.UnpackHigh(v0, v1).AsDouble();
        Vector512<double> low23 = Avx512F.UnpackLow(v2, v3).AsDouble(), high23 = Avx512F.UnpackHigh(v2, v3).AsDouble();
        q0 = Avx512F.UnpackLow(low01, low23).AsSingle();
        q1 = Avx512F.UnpackHigh(low01, low23).AsSingle();
        q2 = Avx512F.UnpackLow(high01, high23).AsSingle();
        q3 = Avx512F.UnpackHigh(high01, high23).AsSingle();
    }

    /// <summary>Transposes four vectors by quarters.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Quarters(
        Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d,
        out Vector512<float> x0, out Vector512<float> x1, out Vector512<float> x2, out Vector512<float> x3)
    {
        Vector512<float> ab0 = Avx512F.Shuffle4x128(a, b, 0x44), ab1 = Avx512F.Shuffle4x128(a, b, 0xEE);
        Vector512<float> cd0 = Avx512F.Shuffle4x128(c, d, 0x44), cd1 = Avx512F.Shuffle4x128(c, d, 0xEE);
        x0 = Avx512F.Shuffle4x128(ab0, cd0, 0x88);
        x1 = Avx512F.Shuffle4x128(ab0, cd0, 0xDD);
        x2 = Avx512F.Shuffle4x128(ab1, cd1, 0x88);
        x3 = Avx512F.Shuffle4x128(ab1, cd1, 0xDD);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step<TRows>(float* a0, float* a1, nint k, Vector512<float> x, ref Vector512<float> s, ref Vector512<float> t)
        where TRows : struct, ICount
    {
        s = Avx512F.FusedMultiplyAdd(Vector512.Create(a0[k]), x, s);
        if (TRows.Count > 1) t = Avx512F.FusedMultiplyAdd(Vector512.Create(a1[k]), x, t);
    }
}
