using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <content>Exponentials of what is known to be small, as softmax has them.</content>
internal static partial class LaneMath
{
    /// <summary>The same bits as <see cref="Exp"/>, for x of at most 89 or NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T ExpUpTo89<T>(T x)
        where T : struct, IArithmetic<T>
    {
        T n = Exponent(T.Greater(T.Broadcast(-104f), x), out T r);
        return T.TimesPowerOfTwo(T.Broadcast(1f) + Expm1Polynomial(r), n);
    }

    /// <summary>Whether four chains at once fit the registers.</summary>
    public static bool InFours<T>()
        where T : struct, ILanes<T> => T.TileBlocks > 1;

    /// <summary>
    /// <see cref="ExpUpTo89{T}(T)"/> of four vectors at once: a single one is a chain of 15 dependent steps, of which the
    /// processor can't look far enough ahead to overlap several. For lanes of 32 registers, which
    /// <see cref="InFours{T}"/> tells.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void ExpUpTo89<T>(ref T a, ref T b, ref T c, ref T d)
        where T : struct, ILanes<T>
    {
        T constant = T.Broadcast(-104f);
        a = T.Greater(constant, a);
        b = T.Greater(constant, b);
        c = T.Greater(constant, c);
        d = T.Greater(constant, d);
        constant = T.Broadcast(1.44269502f);
        T magic = T.Broadcast(Magic);
        T na = T.Fma(a, constant, magic) - magic;
        T nb = T.Fma(b, constant, magic) - magic;
        T nc = T.Fma(c, constant, magic) - magic;
        T nd = T.Fma(d, constant, magic) - magic;
        Reduce(ref a, ref b, ref c, ref d, na, nb, nc, nd, -Ln2High);
        Reduce(ref a, ref b, ref c, ref d, na, nb, nc, nd, -Ln2Low);
        T qa = T.Broadcast(0.000198911031f), qb = qa, qc = qa, qd = qa;
        Horner(ref qa, ref qb, ref qc, ref qd, a, b, c, d, 0.0013933751f);
        Horner(ref qa, ref qb, ref qc, ref qd, a, b, c, d, 0.00833331048f);
        Horner(ref qa, ref qb, ref qc, ref qd, a, b, c, d, 0.041666463f);
        Horner(ref qa, ref qb, ref qc, ref qd, a, b, c, d, 0.166666672f);
        Horner(ref qa, ref qb, ref qc, ref qd, a, b, c, d, 0.5f);
        qa = T.Fma(qa, a * a, a);
        qb = T.Fma(qb, b * b, b);
        qc = T.Fma(qc, c * c, c);
        qd = T.Fma(qd, d * d, d);
        constant = T.Broadcast(1f);
        a = T.TimesPowerOfTwo(constant + qa, na);
        b = T.TimesPowerOfTwo(constant + qb, nb);
        c = T.TimesPowerOfTwo(constant + qc, nc);
        d = T.TimesPowerOfTwo(constant + qd, nd);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Reduce<T>(ref T a, ref T b, ref T c, ref T d, T na, T nb, T nc, T nd, float factor)
        where T : struct, ILanes<T>
    {
        T f = T.Broadcast(factor);
        a = T.Fma(na, f, a);
        b = T.Fma(nb, f, b);
        c = T.Fma(nc, f, c);
        d = T.Fma(nd, f, d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Horner<T>(ref T qa, ref T qb, ref T qc, ref T qd, T a, T b, T c, T d, float next)
        where T : struct, ILanes<T>
    {
        T f = T.Broadcast(next);
        qa = T.Fma(qa, a, f);
        qb = T.Fma(qb, b, f);
        qc = T.Fma(qc, c, f);
        qd = T.Fma(qd, d, f);
    }
}
