using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// The register tile for AVX-512: up to 12 rows by one or two blocks of 16 columns, each element one chain of fused
/// multiply-adds from its start over k ascending. It is <see cref="MicroTile"/> on bare vectors: with 24 accumulators
/// the JIT keeps all of them in registers only while the code has few temporaries. Rows c are the first block's, rows
/// d the second's.
/// </summary>
internal static unsafe class MicroTile512
{
    /// <summary>Computes one tile; the row count is TRows, the columns those of TColumns, or fewer with a partial one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<TRows, TColumns, TWalk>(ref TileArguments t)
        where TRows : struct, ICount
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk
    {
        float* a = t.A;
        float* b = t.B;
        nint step = TWalk.Packed ? TRows.Count : TWalk.UnitRows ? t.StepA : 1;
        nint stepB = TWalk.Packed ? 16 * TColumns.Blocks : t.StepB;
        int columns = t.Columns;
        // Strided rows: 0 to 3 are reached from a, 4 to 7 from a + 4 strides, 8 to 11 from a + 8.
        nint r1 = TWalk.UnitRows ? 1 : t.RowStrideA;
        nint r2 = r1 * 2, r3 = r1 * 3, r4 = r1 * 4, r8 = r1 * 8;
        Vector512<float> c0 = Vector512<float>.Zero, d0 = Vector512<float>.Zero;
        Vector512<float> c1 = Vector512<float>.Zero, d1 = Vector512<float>.Zero;
        Vector512<float> c2 = Vector512<float>.Zero, d2 = Vector512<float>.Zero;
        Vector512<float> c3 = Vector512<float>.Zero, d3 = Vector512<float>.Zero;
        Vector512<float> c4 = Vector512<float>.Zero, d4 = Vector512<float>.Zero;
        Vector512<float> c5 = Vector512<float>.Zero, d5 = Vector512<float>.Zero;
        Vector512<float> c6 = Vector512<float>.Zero, d6 = Vector512<float>.Zero;
        Vector512<float> c7 = Vector512<float>.Zero, d7 = Vector512<float>.Zero;
        Vector512<float> c8 = Vector512<float>.Zero, d8 = Vector512<float>.Zero;
        Vector512<float> c9 = Vector512<float>.Zero, d9 = Vector512<float>.Zero;
        Vector512<float> c10 = Vector512<float>.Zero, d10 = Vector512<float>.Zero;
        Vector512<float> c11 = Vector512<float>.Zero, d11 = Vector512<float>.Zero;
        float* stack = t.Stack;
        nint* depths = t.Depths;
        int leaves = t.Leaves;
        int pending = 0;
        if (t.From != null)
        {
            float* from = t.From;
            nint stride = t.FromStride;
            Load<TColumns, UnitRowWalk>(from, columns, out c0, out d0);
            if (TRows.Count > 1) Load<TColumns, UnitRowWalk>(from + stride, columns, out c1, out d1);
            if (TRows.Count > 2) Load<TColumns, UnitRowWalk>(from + (2 * stride), columns, out c2, out d2);
            if (TRows.Count > 3) Load<TColumns, UnitRowWalk>(from + (3 * stride), columns, out c3, out d3);
            if (TRows.Count > 4) Load<TColumns, UnitRowWalk>(from + (4 * stride), columns, out c4, out d4);
            if (TRows.Count > 5) Load<TColumns, UnitRowWalk>(from + (5 * stride), columns, out c5, out d5);
            if (TRows.Count > 6) Load<TColumns, UnitRowWalk>(from + (6 * stride), columns, out c6, out d6);
            if (TRows.Count > 7) Load<TColumns, UnitRowWalk>(from + (7 * stride), columns, out c7, out d7);
            if (TRows.Count > 8) Load<TColumns, UnitRowWalk>(from + (8 * stride), columns, out c8, out d8);
            if (TRows.Count > 9) Load<TColumns, UnitRowWalk>(from + (9 * stride), columns, out c9, out d9);
            if (TRows.Count > 10) Load<TColumns, UnitRowWalk>(from + (10 * stride), columns, out c10, out d10);
            if (TRows.Count > 11) Load<TColumns, UnitRowWalk>(from + (11 * stride), columns, out c11, out d11);
        }
        nint k = depths[0];
        for (int leaf = 0; ; leaf++)
        {
            if (k >= 2)
            {
                do
                {
                    if (TWalk.UnitRows)
                    {
                        Steps<TRows, TColumns, TWalk>(
                            a, b, columns,
                            ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5,
                            ref c6, ref d6, ref c7, ref d7, ref c8, ref d8, ref c9, ref d9, ref c10, ref d10, ref c11, ref d11);
                        Steps<TRows, TColumns, TWalk>(
                            a + step, b + stepB, columns,
                            ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5,
                            ref c6, ref d6, ref c7, ref d7, ref c8, ref d8, ref c9, ref d9, ref c10, ref d10, ref c11, ref d11);
                    }
                    else
                    {
                        StridedSteps<TRows, TColumns>(
                            a, b, columns, r1, r2, r3, r4, r8,
                            ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5,
                            ref c6, ref d6, ref c7, ref d7, ref c8, ref d8, ref c9, ref d9, ref c10, ref d10, ref c11, ref d11);
                        StridedSteps<TRows, TColumns>(
                            a + 1, b + stepB, columns, r1, r2, r3, r4, r8,
                            ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5,
                            ref c6, ref d6, ref c7, ref d7, ref c8, ref d8, ref c9, ref d9, ref c10, ref d10, ref c11, ref d11);
                    }
                    a += 2 * step;
                    b += 2 * stepB;
                    k -= 2;
                }
                while (k >= 2);
            }
            for (; k > 0; k--)
            {
                if (TWalk.UnitRows)
                {
                    Steps<TRows, TColumns, TWalk>(
                        a, b, columns,
                        ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5,
                        ref c6, ref d6, ref c7, ref d7, ref c8, ref d8, ref c9, ref d9, ref c10, ref d10, ref c11, ref d11);
                }
                else
                {
                    StridedSteps<TRows, TColumns>(
                        a, b, columns, r1, r2, r3, r4, r8,
                        ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5,
                        ref c6, ref d6, ref c7, ref d7, ref c8, ref d8, ref c9, ref d9, ref c10, ref d10, ref c11, ref d11);
                }
                a += step;
                b += stepB;
            }
            bool last = leaf == leaves - 1;
            for (int joins = LeafTree.Joins(leaf, last, pending); joins > 0; joins--)
            {
                pending--;
                stack -= TileArguments.TileSize;
                Join<TColumns>(stack, 0, ref c0, ref d0);
                if (TRows.Count > 1) Join<TColumns>(stack, 32, ref c1, ref d1);
                if (TRows.Count > 2) Join<TColumns>(stack, 64, ref c2, ref d2);
                if (TRows.Count > 3) Join<TColumns>(stack, 96, ref c3, ref d3);
                if (TRows.Count > 4) Join<TColumns>(stack, 128, ref c4, ref d4);
                if (TRows.Count > 5) Join<TColumns>(stack, 160, ref c5, ref d5);
                if (TRows.Count > 6) Join<TColumns>(stack, 192, ref c6, ref d6);
                if (TRows.Count > 7) Join<TColumns>(stack, 224, ref c7, ref d7);
                if (TRows.Count > 8) Join<TColumns>(stack, 256, ref c8, ref d8);
                if (TRows.Count > 9) Join<TColumns>(stack, 288, ref c9, ref d9);
                if (TRows.Count > 10) Join<TColumns>(stack, 320, ref c10, ref d10);
                if (TRows.Count > 11) Join<TColumns>(stack, 352, ref c11, ref d11);
            }
            if (last) break;
            Push<TColumns>(stack, 0, c0, d0);
            if (TRows.Count > 1) Push<TColumns>(stack, 32, c1, d1);
            if (TRows.Count > 2) Push<TColumns>(stack, 64, c2, d2);
            if (TRows.Count > 3) Push<TColumns>(stack, 96, c3, d3);
            if (TRows.Count > 4) Push<TColumns>(stack, 128, c4, d4);
            if (TRows.Count > 5) Push<TColumns>(stack, 160, c5, d5);
            if (TRows.Count > 6) Push<TColumns>(stack, 192, c6, d6);
            if (TRows.Count > 7) Push<TColumns>(stack, 224, c7, d7);
            if (TRows.Count > 8) Push<TColumns>(stack, 256, c8, d8);
            if (TRows.Count > 9) Push<TColumns>(stack, 288, c9, d9);
            if (TRows.Count > 10) Push<TColumns>(stack, 320, c10, d10);
            if (TRows.Count > 11) Push<TColumns>(stack, 352, c11, d11);
            pending++;
            stack += TileArguments.TileSize;
            k = depths[leaf + 1];
            c0 = Vector512<float>.Zero;
            d0 = Vector512<float>.Zero;
            c1 = Vector512<float>.Zero;
            d1 = Vector512<float>.Zero;
            c2 = Vector512<float>.Zero;
            d2 = Vector512<float>.Zero;
            c3 = Vector512<float>.Zero;
            d3 = Vector512<float>.Zero;
            c4 = Vector512<float>.Zero;
            d4 = Vector512<float>.Zero;
            c5 = Vector512<float>.Zero;
            d5 = Vector512<float>.Zero;
            c6 = Vector512<float>.Zero;
            d6 = Vector512<float>.Zero;
            c7 = Vector512<float>.Zero;
            d7 = Vector512<float>.Zero;
            c8 = Vector512<float>.Zero;
            d8 = Vector512<float>.Zero;
            c9 = Vector512<float>.Zero;
            d9 = Vector512<float>.Zero;
            c10 = Vector512<float>.Zero;
            d10 = Vector512<float>.Zero;
            c11 = Vector512<float>.Zero;
            d11 = Vector512<float>.Zero;
        }
        float* to = t.To;
        nint toStride = t.ToStride;
        Store<TColumns>(to, columns, c0, d0);
        if (TRows.Count > 1) Store<TColumns>(to + toStride, columns, c1, d1);
        if (TRows.Count > 2) Store<TColumns>(to + (2 * toStride), columns, c2, d2);
        if (TRows.Count > 3) Store<TColumns>(to + (3 * toStride), columns, c3, d3);
        if (TRows.Count > 4) Store<TColumns>(to + (4 * toStride), columns, c4, d4);
        if (TRows.Count > 5) Store<TColumns>(to + (5 * toStride), columns, c5, d5);
        if (TRows.Count > 6) Store<TColumns>(to + (6 * toStride), columns, c6, d6);
        if (TRows.Count > 7) Store<TColumns>(to + (7 * toStride), columns, c7, d7);
        if (TRows.Count > 8) Store<TColumns>(to + (8 * toStride), columns, c8, d8);
        if (TRows.Count > 9) Store<TColumns>(to + (9 * toStride), columns, c9, d9);
        if (TRows.Count > 10) Store<TColumns>(to + (10 * toStride), columns, c10, d10);
        if (TRows.Count > 11) Store<TColumns>(to + (11 * toStride), columns, c11, d11);
    }

    /// <summary>One k: each element of the tile takes one product more. Rows are neighbours in A, so that their places fit into the instructions.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Steps<TRows, TColumns, TWalk>(
        float* a, float* b, int columns,
        ref Vector512<float> c0, ref Vector512<float> d0, ref Vector512<float> c1, ref Vector512<float> d1,
        ref Vector512<float> c2, ref Vector512<float> d2, ref Vector512<float> c3, ref Vector512<float> d3,
        ref Vector512<float> c4, ref Vector512<float> d4, ref Vector512<float> c5, ref Vector512<float> d5,
        ref Vector512<float> c6, ref Vector512<float> d6, ref Vector512<float> c7, ref Vector512<float> d7,
        ref Vector512<float> c8, ref Vector512<float> d8, ref Vector512<float> c9, ref Vector512<float> d9,
        ref Vector512<float> c10, ref Vector512<float> d10, ref Vector512<float> c11, ref Vector512<float> d11)
        where TRows : struct, ICount
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk
    {
        Load<TColumns, TWalk>(b, columns, out Vector512<float> b0, out Vector512<float> b1);
        if (TWalk.Ahead)
        {
            Sse.Prefetch0(b + (16 * TColumns.Blocks));
            if (TColumns.Blocks > 1) Sse.Prefetch0(b + 48);
        }

        Step<TColumns>(a, b0, b1, ref c0, ref d0);
        if (TRows.Count > 1) Step<TColumns>(a + 1, b0, b1, ref c1, ref d1);
        if (TRows.Count > 2) Step<TColumns>(a + 2, b0, b1, ref c2, ref d2);
        if (TRows.Count > 3) Step<TColumns>(a + 3, b0, b1, ref c3, ref d3);
        if (TRows.Count > 4) Step<TColumns>(a + 4, b0, b1, ref c4, ref d4);
        if (TRows.Count > 5) Step<TColumns>(a + 5, b0, b1, ref c5, ref d5);
        if (TRows.Count > 6) Step<TColumns>(a + 6, b0, b1, ref c6, ref d6);
        if (TRows.Count > 7) Step<TColumns>(a + 7, b0, b1, ref c7, ref d7);
        if (TRows.Count > 8) Step<TColumns>(a + 8, b0, b1, ref c8, ref d8);
        if (TRows.Count > 9) Step<TColumns>(a + 9, b0, b1, ref c9, ref d9);
        if (TRows.Count > 10) Step<TColumns>(a + 10, b0, b1, ref c10, ref d10);
        if (TRows.Count > 11) Step<TColumns>(a + 11, b0, b1, ref c11, ref d11);
    }

    /// <summary>One k, for rows of A that lie r1 apart: four are reached from one pointer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StridedSteps<TRows, TColumns>(
        float* a, float* b, int columns, nint r1, nint r2, nint r3, nint r4, nint r8,
        ref Vector512<float> c0, ref Vector512<float> d0, ref Vector512<float> c1, ref Vector512<float> d1,
        ref Vector512<float> c2, ref Vector512<float> d2, ref Vector512<float> c3, ref Vector512<float> d3,
        ref Vector512<float> c4, ref Vector512<float> d4, ref Vector512<float> c5, ref Vector512<float> d5,
        ref Vector512<float> c6, ref Vector512<float> d6, ref Vector512<float> c7, ref Vector512<float> d7,
        ref Vector512<float> c8, ref Vector512<float> d8, ref Vector512<float> c9, ref Vector512<float> d9,
        ref Vector512<float> c10, ref Vector512<float> d10, ref Vector512<float> c11, ref Vector512<float> d11)
        where TRows : struct, ICount
        where TColumns : struct, ITileColumns
    {
        Load<TColumns, StridedRowWalk>(b, columns, out Vector512<float> b0, out Vector512<float> b1);
        float* a4 = a + r4, a8 = a + r8;
        Step<TColumns>(a, b0, b1, ref c0, ref d0);
        if (TRows.Count > 1) Step<TColumns>(a + r1, b0, b1, ref c1, ref d1);
        if (TRows.Count > 2) Step<TColumns>(a + r2, b0, b1, ref c2, ref d2);
        if (TRows.Count > 3) Step<TColumns>(a + r3, b0, b1, ref c3, ref d3);
        if (TRows.Count > 4) Step<TColumns>(a4, b0, b1, ref c4, ref d4);
        if (TRows.Count > 5) Step<TColumns>(a4 + r1, b0, b1, ref c5, ref d5);
        if (TRows.Count > 6) Step<TColumns>(a4 + r2, b0, b1, ref c6, ref d6);
        if (TRows.Count > 7) Step<TColumns>(a4 + r3, b0, b1, ref c7, ref d7);
        if (TRows.Count > 8) Step<TColumns>(a8, b0, b1, ref c8, ref d8);
        if (TRows.Count > 9) Step<TColumns>(a8 + r1, b0, b1, ref c9, ref d9);
        if (TRows.Count > 10) Step<TColumns>(a8 + r2, b0, b1, ref c10, ref d10);
        if (TRows.Count > 11) Step<TColumns>(a8 + r3, b0, b1, ref c11, ref d11);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step<TColumns>(float* a, Vector512<float> b0, Vector512<float> b1, ref Vector512<float> c, ref Vector512<float> d)
        where TColumns : struct, ITileColumns
    {
        Vector512<float> x = Vector512.Create(*a);
        c = Avx512F.FusedMultiplyAdd(x, b0, c);
        if (TColumns.Blocks > 1) d = Avx512F.FusedMultiplyAdd(x, b1, d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Load<TColumns, TWalk>(float* source, int columns, out Vector512<float> c, out Vector512<float> d)
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk
    {
        // Packed strips are padded, so they are read whole.
        bool partial = TColumns.Partial && !TWalk.Packed;
        d = Vector512<float>.Zero;
        if (TColumns.Blocks == 1)
        {
            c = partial ? Avx512F.MaskLoad(source, Mask(columns), d) : Vector512.Load(source);
        }
        else
        {
            c = Vector512.Load(source);
            d = partial ? Avx512F.MaskLoad(source + 16, Mask(columns - 16), d) : Vector512.Load(source + 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<TColumns>(float* target, int columns, Vector512<float> c, Vector512<float> d)
        where TColumns : struct, ITileColumns
    {
        if (TColumns.Blocks == 1)
        {
            if (TColumns.Partial) Avx512F.MaskStore(target, Mask(columns), c);
            else c.Store(target);
        }
        else
        {
            c.Store(target);
            if (TColumns.Partial) Avx512F.MaskStore(target + 16, Mask(columns - 16), d);
            else d.Store(target + 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Join<TColumns>(float* stack, int row, ref Vector512<float> c, ref Vector512<float> d)
        where TColumns : struct, ITileColumns
    {
        c = Vector512.Load(stack + row) + c;
        if (TColumns.Blocks > 1) d = Vector512.Load(stack + row + 16) + d;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Push<TColumns>(float* stack, int row, Vector512<float> c, Vector512<float> d)
        where TColumns : struct, ITileColumns
    {
        c.Store(stack + row);
        if (TColumns.Blocks > 1) d.Store(stack + row + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Mask(int count) =>
        Vector512.LessThan(Vector512<int>.Indices, Vector512.Create(count)).AsSingle();
}
