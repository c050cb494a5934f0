using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// The register tile for AVX2: up to 6 rows by 16 columns, each element one chain of fused multiply-adds from its start
/// over k ascending. It is <see cref="MicroTile"/> on bare vectors: 12 accumulators, both halves of a row of B and one
/// element of A fill the 16 registers. Rows c are the left halves, rows d the right ones.
/// </summary>
internal static unsafe class MicroTile256
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
        nint r1 = TWalk.UnitRows ? 1 : t.RowStrideA;
        nint r2 = r1 * 2, r3 = r1 * 3, r4 = r1 * 4;
        Vector256<float> c0 = Vector256<float>.Zero, d0 = Vector256<float>.Zero;
        Vector256<float> c1 = Vector256<float>.Zero, d1 = Vector256<float>.Zero;
        Vector256<float> c2 = Vector256<float>.Zero, d2 = Vector256<float>.Zero;
        Vector256<float> c3 = Vector256<float>.Zero, d3 = Vector256<float>.Zero;
        Vector256<float> c4 = Vector256<float>.Zero, d4 = Vector256<float>.Zero;
        Vector256<float> c5 = Vector256<float>.Zero, d5 = Vector256<float>.Zero;
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
        }
        nint k = depths[0];
        for (int leaf = 0; ; leaf++)
        {
            if (TWalk.Packed && k >= 4)
            {
                do
                {
                    Steps<TRows, TColumns, TWalk>(
                        a, b, columns,
                        ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5);
                    Steps<TRows, TColumns, TWalk>(
                        a + (1 * TRows.Count), b + (16 * TColumns.Blocks), columns,
                        ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5);
                    Steps<TRows, TColumns, TWalk>(
                        a + (2 * TRows.Count), b + (32 * TColumns.Blocks), columns,
                        ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5);
                    Steps<TRows, TColumns, TWalk>(
                        a + (3 * TRows.Count), b + (48 * TColumns.Blocks), columns,
                        ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5);
                    a += 4 * TRows.Count;
                    b += 64 * TColumns.Blocks;
                    k -= 4;
                }
                while (k >= 4);
            }
            if (k >= 2)
            {
                do
                {
                    if (TWalk.UnitRows)
                    {
                        Steps<TRows, TColumns, TWalk>(
                            a, b, columns,
                            ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5);
                        Steps<TRows, TColumns, TWalk>(
                            a + step, b + stepB, columns,
                            ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5);
                    }
                    else
                    {
                        StridedSteps<TRows, TColumns>(
                            a, b, columns, r1, r2, r3, r4,
                            ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5);
                        StridedSteps<TRows, TColumns>(
                            a + 1, b + stepB, columns, r1, r2, r3, r4,
                            ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5);
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
                        ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5);
                }
                else
                {
                    StridedSteps<TRows, TColumns>(
                        a, b, columns, r1, r2, r3, r4,
                        ref c0, ref d0, ref c1, ref d1, ref c2, ref d2, ref c3, ref d3, ref c4, ref d4, ref c5, ref d5);
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
            }
            if (last) break;
            Push<TColumns>(stack, 0, c0, d0);
            if (TRows.Count > 1) Push<TColumns>(stack, 32, c1, d1);
            if (TRows.Count > 2) Push<TColumns>(stack, 64, c2, d2);
            if (TRows.Count > 3) Push<TColumns>(stack, 96, c3, d3);
            if (TRows.Count > 4) Push<TColumns>(stack, 128, c4, d4);
            if (TRows.Count > 5) Push<TColumns>(stack, 160, c5, d5);
            pending++;
            stack += TileArguments.TileSize;
            k = depths[leaf + 1];
            c0 = Vector256<float>.Zero;
            d0 = Vector256<float>.Zero;
            c1 = Vector256<float>.Zero;
            d1 = Vector256<float>.Zero;
            c2 = Vector256<float>.Zero;
            d2 = Vector256<float>.Zero;
            c3 = Vector256<float>.Zero;
            d3 = Vector256<float>.Zero;
            c4 = Vector256<float>.Zero;
            d4 = Vector256<float>.Zero;
            c5 = Vector256<float>.Zero;
            d5 = Vector256<float>.Zero;
        }
        float* to = t.To;
        nint toStride = t.ToStride;
        Store<TColumns>(to, columns, c0, d0);
        if (TRows.Count > 1) Store<TColumns>(to + toStride, columns, c1, d1);
        if (TRows.Count > 2) Store<TColumns>(to + (2 * toStride), columns, c2, d2);
        if (TRows.Count > 3) Store<TColumns>(to + (3 * toStride), columns, c3, d3);
        if (TRows.Count > 4) Store<TColumns>(to + (4 * toStride), columns, c4, d4);
        if (TRows.Count > 5) Store<TColumns>(to + (5 * toStride), columns, c5, d5);
    }

    /// <summary>One k: each element of the tile takes one product more. Rows are neighbours in A, so that their places fit into the instructions.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Steps<TRows, TColumns, TWalk>(
        float* a, float* b, int columns,
        ref Vector256<float> c0, ref Vector256<float> d0, ref Vector256<float> c1, ref Vector256<float> d1,
        ref Vector256<float> c2, ref Vector256<float> d2, ref Vector256<float> c3, ref Vector256<float> d3,
        ref Vector256<float> c4, ref Vector256<float> d4, ref Vector256<float> c5, ref Vector256<float> d5)
        where TRows : struct, ICount
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk
    {
        Load<TColumns, TWalk>(b, columns, out Vector256<float> b0, out Vector256<float> b1);
        if (TWalk.Ahead) Sse.Prefetch0(b + 16);
        Step<TColumns>(a, b0, b1, ref c0, ref d0);
        if (TRows.Count > 1) Step<TColumns>(a + 1, b0, b1, ref c1, ref d1);
        if (TRows.Count > 2) Step<TColumns>(a + 2, b0, b1, ref c2, ref d2);
        if (TRows.Count > 3) Step<TColumns>(a + 3, b0, b1, ref c3, ref d3);
        if (TRows.Count > 4) Step<TColumns>(a + 4, b0, b1, ref c4, ref d4);
        if (TRows.Count > 5) Step<TColumns>(a + 5, b0, b1, ref c5, ref d5);
    }

    /// <summary>One k, for rows of A that lie r1 apart: four are reached from one pointer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StridedSteps<TRows, TColumns>(
        float* a, float* b, int columns, nint r1, nint r2, nint r3, nint r4,
        ref Vector256<float> c0, ref Vector256<float> d0, ref Vector256<float> c1, ref Vector256<float> d1,
        ref Vector256<float> c2, ref Vector256<float> d2, ref Vector256<float> c3, ref Vector256<float> d3,
        ref Vector256<float> c4, ref Vector256<float> d4, ref Vector256<float> c5, ref Vector256<float> d5)
        where TRows : struct, ICount
        where TColumns : struct, ITileColumns
    {
        Load<TColumns, StridedRowWalk>(b, columns, out Vector256<float> b0, out Vector256<float> b1);
        float* a4 = a + r4;
        Step<TColumns>(a, b0, b1, ref c0, ref d0);
        if (TRows.Count > 1) Step<TColumns>(a + r1, b0, b1, ref c1, ref d1);
        if (TRows.Count > 2) Step<TColumns>(a + r2, b0, b1, ref c2, ref d2);
        if (TRows.Count > 3) Step<TColumns>(a + r3, b0, b1, ref c3, ref d3);
        if (TRows.Count > 4) Step<TColumns>(a4, b0, b1, ref c4, ref d4);
        if (TRows.Count > 5) Step<TColumns>(a4 + r1, b0, b1, ref c5, ref d5);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step<TColumns>(float* a, Vector256<float> b0, Vector256<float> b1, ref Vector256<float> c, ref Vector256<float> d)
        where TColumns : struct, ITileColumns
    {
        Vector256<float> x = Vector256.Create(*a);
        c = Fma.MultiplyAdd(x, b0, c);
        d = Fma.MultiplyAdd(x, b1, d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Load<TColumns, TWalk>(float* source, int columns, out Vector256<float> c, out Vector256<float> d)
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk
    {
        // Packed strips are padded, so they are read whole.
        bool partial = TColumns.Partial && !TWalk.Packed;
        c = partial ? Avx.MaskLoad(source, Mask(columns)) : Vector256.Load(source);
        d = partial ? Avx.MaskLoad(source + 8, Mask(columns - 8)) : Vector256.Load(source + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<TColumns>(float* target, int columns, Vector256<float> c, Vector256<float> d)
        where TColumns : struct, ITileColumns
    {
        if (TColumns.Partial)
        {
            Avx.MaskStore(target, Mask(columns), c);
            Avx.MaskStore(target + 8, Mask(columns - 8), d);
            return;
        }
        c.Store(target);
        d.Store(target + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Join<TColumns>(float* stack, int row, ref Vector256<float> c, ref Vector256<float> d)
        where TColumns : struct, ITileColumns
    {
        c = Vector256.Load(stack + row) + c;
        d = Vector256.Load(stack + row + 8) + d;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Push<TColumns>(float* stack, int row, Vector256<float> c, Vector256<float> d)
        where TColumns : struct, ITileColumns
    {
        c.Store(stack + row);
        d.Store(stack + row + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Mask(int count) =>
        Vector256.LessThan(Vector256<int>.Indices, Vector256.Create(count)).AsSingle();
}
