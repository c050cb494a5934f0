using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// The register tile for AVX-512 where leaves are shallow and come in pairs of one depth: 6 rows by 32 columns of two leaves
/// at once, which join without leaving the registers. A stack holds only what is pending of pairs: a third of what
/// <see cref="MicroTile512"/> writes and reads again for leaf after leaf. Rows c and d are the first leaf's, rows e and f the
/// second's.
/// </summary>
internal static unsafe class LeafPairTile512
{
    /// <summary>Rows of the tile: half of a packed strip's.</summary>
    public const int Rows = 6;

    /// <summary>Columns of the tile.</summary>
    public const int Columns = 32;

    // Rows of a packed strip of A.
    private const int Step = 2 * Rows;

    /// <summary>Whether all leaves have a neighbour of the same depth: leaves 2i and 2i + 1 are a node of every tree that has both.</summary>
    public static bool Suits(nint* depths, int leaves)
    {
        if (leaves % 2 != 0) return false;
        for (int leaf = 0; leaf < leaves; leaf += 2)
        {
            if (depths[leaf] != depths[leaf + 1]) return false;
        }

        return true;
    }

    /// <summary>Computes rows [0, 6) of a packed strip of 12, which A may point into the middle of.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(ref TileArguments t)
    {
        float* a = t.A;
        float* b = t.B;
        float* stack = t.Stack;
        nint* depths = t.Depths;
        int last = (t.Leaves / 2) - 1;
        int pending = 0;
        for (int pair = 0; ; pair++)
        {
            Vector512<float> c0 = Vector512<float>.Zero, d0 = Vector512<float>.Zero, e0 = Vector512<float>.Zero, f0 = Vector512<float>.Zero;
            Vector512<float> c1 = Vector512<float>.Zero, d1 = Vector512<float>.Zero, e1 = Vector512<float>.Zero, f1 = Vector512<float>.Zero;
            Vector512<float> c2 = Vector512<float>.Zero, d2 = Vector512<float>.Zero, e2 = Vector512<float>.Zero, f2 = Vector512<float>.Zero;
            Vector512<float> c3 = Vector512<float>.Zero, d3 = Vector512<float>.Zero, e3 = Vector512<float>.Zero, f3 = Vector512<float>.Zero;
            Vector512<float> c4 = Vector512<float>.Zero, d4 = Vector512<float>.Zero, e4 = Vector512<float>.Zero, f4 = Vector512<float>.Zero;
            Vector512<float> c5 = Vector512<float>.Zero, d5 = Vector512<float>.Zero, e5 = Vector512<float>.Zero, f5 = Vector512<float>.Zero;
            nint k = depths[2 * pair];
            float* a2 = a + (k * Step);
            float* b2 = b + (k * Columns);
            for (; k > 0; k--)
            {
                Vector512<float> x = Vector512.Load(b), y = Vector512.Load(b + 16);
                Add(a, x, y, ref c0, ref d0);
                Add(a + 1, x, y, ref c1, ref d1);
                Add(a + 2, x, y, ref c2, ref d2);
                Add(a + 3, x, y, ref c3, ref d3);
                Add(a + 4, x, y, ref c4, ref d4);
                Add(a + 5, x, y, ref c5, ref d5);
                x = Vector512.Load(b2);
                y = Vector512.Load(b2 + 16);
                Add(a2, x, y, ref e0, ref f0);
                Add(a2 + 1, x, y, ref e1, ref f1);
                Add(a2 + 2, x, y, ref e2, ref f2);
                Add(a2 + 3, x, y, ref e3, ref f3);
                Add(a2 + 4, x, y, ref e4, ref f4);
                Add(a2 + 5, x, y, ref e5, ref f5);
                a += Step;
                a2 += Step;
                b += Columns;
                b2 += Columns;
            }

            a = a2;
            b = b2;
            c0 += e0;
            d0 += f0;
            c1 += e1;
            d1 += f1;
            c2 += e2;
            d2 += f2;
            c3 += e3;
            d3 += f3;
            c4 += e4;
            d4 += f4;
            c5 += e5;
            d5 += f5;
            for (int joins = LeafTree.Joins(pair, pair == last, pending); joins > 0; joins--)
            {
                pending--;
                stack -= TileArguments.TileSize;
                Join(stack, ref c0, ref d0);
                Join(stack + 32, ref c1, ref d1);
                Join(stack + 64, ref c2, ref d2);
                Join(stack + 96, ref c3, ref d3);
                Join(stack + 128, ref c4, ref d4);
                Join(stack + 160, ref c5, ref d5);
            }

            bool whole = pair == last;
            float* to = whole ? t.To : stack;
            nint stride = whole ? t.ToStride : Columns;
            if (whole && t.Streams)
            {
                Stream(to, c0, d0);
                Stream(to + stride, c1, d1);
                Stream(to + (2 * stride), c2, d2);
                Stream(to + (3 * stride), c3, d3);
                Stream(to + (4 * stride), c4, d4);
                Stream(to + (5 * stride), c5, d5);
                return;
            }

            Store(to, c0, d0);
            Store(to + stride, c1, d1);
            Store(to + (2 * stride), c2, d2);
            Store(to + (3 * stride), c3, d3);
            Store(to + (4 * stride), c4, d4);
            Store(to + (5 * stride), c5, d5);
            if (whole) return;
            pending++;
            stack += TileArguments.TileSize;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(float* a, Vector512<float> x, Vector512<float> y, ref Vector512<float> c, ref Vector512<float> d)
    {
        Vector512<float> factor = Vector512.Create(*a);
        c = Avx512F.FusedMultiplyAdd(factor, x, c);
        d = Avx512F.FusedMultiplyAdd(factor, y, d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Join(float* stack, ref Vector512<float> c, ref Vector512<float> d)
    {
        c = Vector512.Load(stack) + c;
        d = Vector512.Load(stack + 16) + d;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Stream(float* target, Vector512<float> c, Vector512<float> d)
    {
        c.StoreAlignedNonTemporal(target);
        d.StoreAlignedNonTemporal(target + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* target, Vector512<float> c, Vector512<float> d)
    {
        c.Store(target);
        d.Store(target + 16);
    }
}
