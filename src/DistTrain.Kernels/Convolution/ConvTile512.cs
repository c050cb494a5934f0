using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// The register tile of convolutions for AVX-512: up to three groups of rows by one or two blocks of 16 columns, each
/// element one chain of fused multiply-adds. A group's rows lie evenly apart, the groups anywhere, so that a tile may
/// straddle the end of an image's row. Two groups have up to 7 rows each: 28 accumulators, two columns of B and one
/// broadcast fill the registers. Rows c are the first block's, rows d the second's; group 1 begins at row 7, group 2
/// (tiles of at most 3 rows a group) at row 3.
/// </summary>
internal static unsafe class ConvTile512
{
    private const int PrefetchDistance = 256;

    /// <summary>Computes one tile: as <see cref="ConvTileArguments"/> says.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<TRows, TGroups, TColumns, TWalk>(ref ConvTileArguments t)
        where TRows : struct, ICount
        where TGroups : struct, ICount
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk
    {
        nint r1 = TWalk.UnitRows ? 1 : t.RowStride;
        nint r2 = r1 * 2, r3 = r1 * 3, r4 = r1 * 4, r5 = r1 * 5, r6 = r1 * 6;
        nint step = TWalk.UnitRows ? t.Step : 1;
        nint stepB = TWalk.Packed ? ConvTileDispatch.Strip : TWalk.UnitRows ? t.StepB : 16 * TColumns.Blocks;
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
        Vector512<float> c12 = Vector512<float>.Zero, d12 = Vector512<float>.Zero;
        Vector512<float> c13 = Vector512<float>.Zero, d13 = Vector512<float>.Zero;
        ConvSegment* segment = t.Segments;
        ConvPiece* piece = t.Pieces;
        float* stack = t.Stack;
        if (TWalk.UnitRows && t.Continues)
        {
            Load<TColumns>(stack + 0, out c0, out d0);
            if (TRows.Count > 1) Load<TColumns>(stack + 32, out c1, out d1);
            if (TRows.Count > 2) Load<TColumns>(stack + 64, out c2, out d2);
            if (TRows.Count > 3) Load<TColumns>(stack + 96, out c3, out d3);
            if (TRows.Count > 4) Load<TColumns>(stack + 128, out c4, out d4);
            if (TRows.Count > 5) Load<TColumns>(stack + 160, out c5, out d5);
            if (TRows.Count > 6) Load<TColumns>(stack + 192, out c6, out d6);
            if (TGroups.Count > 1) Load<TColumns>(stack + 224, out c7, out d7);
            if (TRows.Count > 1 && TGroups.Count > 1) Load<TColumns>(stack + 256, out c8, out d8);
            if (TRows.Count > 2 && TGroups.Count > 1) Load<TColumns>(stack + 288, out c9, out d9);
            if (TRows.Count > 3 && TGroups.Count > 1) Load<TColumns>(stack + 320, out c10, out d10);
            if (TRows.Count > 4 && TGroups.Count > 1) Load<TColumns>(stack + 352, out c11, out d11);
            if (TRows.Count > 5 && TGroups.Count > 1) Load<TColumns>(stack + 384, out c12, out d12);
            if (TRows.Count > 6 && TGroups.Count > 1) Load<TColumns>(stack + 416, out c13, out d13);
            if (TGroups.Count > 2) Load<TColumns>(stack + 96, out c3, out d3);
            if (TRows.Count > 1 && TGroups.Count > 2) Load<TColumns>(stack + 128, out c4, out d4);
            if (TRows.Count > 2 && TGroups.Count > 2) Load<TColumns>(stack + 160, out c5, out d5);
        }
        for (int left = t.PieceCount; ; piece++)
        {
            for (int count = piece->Segments; count > 0; count--, segment++)
            {
                float* a = t.A0 + segment->A;
                float* e = TGroups.Count == 1 ? a : TWalk.Packed ? a + TRows.Count : t.A1 + segment->A;
                float* f = TGroups.Count > 2 ? t.A2 + segment->A : a;
                float* b = t.B + segment->B;
                nint k = t.Length;
                for (; k >= 2; k -= 2)
                {
                    if (!TWalk.UnitRows) Ahead<TColumns>(b + PrefetchDistance);
                    Load<TColumns>(b, out Vector512<float> x0, out Vector512<float> x1);
                    Step<TColumns>(a, x0, x1, ref c0, ref d0);
                    if (TRows.Count > 1) Step<TColumns>(a + r1, x0, x1, ref c1, ref d1);
                    if (TRows.Count > 2) Step<TColumns>(a + r2, x0, x1, ref c2, ref d2);
                    if (TRows.Count > 3) Step<TColumns>(a + r3, x0, x1, ref c3, ref d3);
                    if (TRows.Count > 4) Step<TColumns>(a + r4, x0, x1, ref c4, ref d4);
                    if (TRows.Count > 5) Step<TColumns>(a + r5, x0, x1, ref c5, ref d5);
                    if (TRows.Count > 6) Step<TColumns>(a + r6, x0, x1, ref c6, ref d6);
                    if (TGroups.Count > 1) Step<TColumns>(e, x0, x1, ref c7, ref d7);
                    if (TRows.Count > 1 && TGroups.Count > 1) Step<TColumns>(e + r1, x0, x1, ref c8, ref d8);
                    if (TRows.Count > 2 && TGroups.Count > 1) Step<TColumns>(e + r2, x0, x1, ref c9, ref d9);
                    if (TRows.Count > 3 && TGroups.Count > 1) Step<TColumns>(e + r3, x0, x1, ref c10, ref d10);
                    if (TRows.Count > 4 && TGroups.Count > 1) Step<TColumns>(e + r4, x0, x1, ref c11, ref d11);
                    if (TRows.Count > 5 && TGroups.Count > 1) Step<TColumns>(e + r5, x0, x1, ref c12, ref d12);
                    if (TRows.Count > 6 && TGroups.Count > 1) Step<TColumns>(e + r6, x0, x1, ref c13, ref d13);
                    if (TGroups.Count > 2) Step<TColumns>(f, x0, x1, ref c3, ref d3);
                    if (TRows.Count > 1 && TGroups.Count > 2) Step<TColumns>(f + r1, x0, x1, ref c4, ref d4);
                    if (TRows.Count > 2 && TGroups.Count > 2) Step<TColumns>(f + r2, x0, x1, ref c5, ref d5);
                    float* a1 = a + step;
                    float* e1 = TGroups.Count > 1 ? e + step : a1;
                    float* f1 = TGroups.Count > 2 ? f + step : a1;
                    Load<TColumns>(b + stepB, out Vector512<float> y0, out Vector512<float> y1);
                    Step<TColumns>(a1, y0, y1, ref c0, ref d0);
                    if (TRows.Count > 1) Step<TColumns>(a1 + r1, y0, y1, ref c1, ref d1);
                    if (TRows.Count > 2) Step<TColumns>(a1 + r2, y0, y1, ref c2, ref d2);
                    if (TRows.Count > 3) Step<TColumns>(a1 + r3, y0, y1, ref c3, ref d3);
                    if (TRows.Count > 4) Step<TColumns>(a1 + r4, y0, y1, ref c4, ref d4);
                    if (TRows.Count > 5) Step<TColumns>(a1 + r5, y0, y1, ref c5, ref d5);
                    if (TRows.Count > 6) Step<TColumns>(a1 + r6, y0, y1, ref c6, ref d6);
                    if (TGroups.Count > 1) Step<TColumns>(e1, y0, y1, ref c7, ref d7);
                    if (TRows.Count > 1 && TGroups.Count > 1) Step<TColumns>(e1 + r1, y0, y1, ref c8, ref d8);
                    if (TRows.Count > 2 && TGroups.Count > 1) Step<TColumns>(e1 + r2, y0, y1, ref c9, ref d9);
                    if (TRows.Count > 3 && TGroups.Count > 1) Step<TColumns>(e1 + r3, y0, y1, ref c10, ref d10);
                    if (TRows.Count > 4 && TGroups.Count > 1) Step<TColumns>(e1 + r4, y0, y1, ref c11, ref d11);
                    if (TRows.Count > 5 && TGroups.Count > 1) Step<TColumns>(e1 + r5, y0, y1, ref c12, ref d12);
                    if (TRows.Count > 6 && TGroups.Count > 1) Step<TColumns>(e1 + r6, y0, y1, ref c13, ref d13);
                    if (TGroups.Count > 2) Step<TColumns>(f1, y0, y1, ref c3, ref d3);
                    if (TRows.Count > 1 && TGroups.Count > 2) Step<TColumns>(f1 + r1, y0, y1, ref c4, ref d4);
                    if (TRows.Count > 2 && TGroups.Count > 2) Step<TColumns>(f1 + r2, y0, y1, ref c5, ref d5);
                    a = a1 + step;
                    if (TGroups.Count > 1) e += 2 * step;
                    if (TGroups.Count > 2) f += 2 * step;
                    b += 2 * stepB;
                }
                if (k > 0)
                {
                    Load<TColumns>(b, out Vector512<float> x0, out Vector512<float> x1);
                    Step<TColumns>(a, x0, x1, ref c0, ref d0);
                    if (TRows.Count > 1) Step<TColumns>(a + r1, x0, x1, ref c1, ref d1);
                    if (TRows.Count > 2) Step<TColumns>(a + r2, x0, x1, ref c2, ref d2);
                    if (TRows.Count > 3) Step<TColumns>(a + r3, x0, x1, ref c3, ref d3);
                    if (TRows.Count > 4) Step<TColumns>(a + r4, x0, x1, ref c4, ref d4);
                    if (TRows.Count > 5) Step<TColumns>(a + r5, x0, x1, ref c5, ref d5);
                    if (TRows.Count > 6) Step<TColumns>(a + r6, x0, x1, ref c6, ref d6);
                    if (TGroups.Count > 1) Step<TColumns>(e, x0, x1, ref c7, ref d7);
                    if (TRows.Count > 1 && TGroups.Count > 1) Step<TColumns>(e + r1, x0, x1, ref c8, ref d8);
                    if (TRows.Count > 2 && TGroups.Count > 1) Step<TColumns>(e + r2, x0, x1, ref c9, ref d9);
                    if (TRows.Count > 3 && TGroups.Count > 1) Step<TColumns>(e + r3, x0, x1, ref c10, ref d10);
                    if (TRows.Count > 4 && TGroups.Count > 1) Step<TColumns>(e + r4, x0, x1, ref c11, ref d11);
                    if (TRows.Count > 5 && TGroups.Count > 1) Step<TColumns>(e + r5, x0, x1, ref c12, ref d12);
                    if (TRows.Count > 6 && TGroups.Count > 1) Step<TColumns>(e + r6, x0, x1, ref c13, ref d13);
                    if (TGroups.Count > 2) Step<TColumns>(f, x0, x1, ref c3, ref d3);
                    if (TRows.Count > 1 && TGroups.Count > 2) Step<TColumns>(f + r1, x0, x1, ref c4, ref d4);
                    if (TRows.Count > 2 && TGroups.Count > 2) Step<TColumns>(f + r2, x0, x1, ref c5, ref d5);
                }
            }
            if (!TWalk.UnitRows) break;
            for (int joins = piece->Joins; joins > 0; joins--)
            {
                stack -= ConvTileArguments.TileSize;
                Join<TColumns>(stack + 0, ref c0, ref d0);
                if (TRows.Count > 1) Join<TColumns>(stack + 32, ref c1, ref d1);
                if (TRows.Count > 2) Join<TColumns>(stack + 64, ref c2, ref d2);
                if (TRows.Count > 3) Join<TColumns>(stack + 96, ref c3, ref d3);
                if (TRows.Count > 4) Join<TColumns>(stack + 128, ref c4, ref d4);
                if (TRows.Count > 5) Join<TColumns>(stack + 160, ref c5, ref d5);
                if (TRows.Count > 6) Join<TColumns>(stack + 192, ref c6, ref d6);
                if (TGroups.Count > 1) Join<TColumns>(stack + 224, ref c7, ref d7);
                if (TRows.Count > 1 && TGroups.Count > 1) Join<TColumns>(stack + 256, ref c8, ref d8);
                if (TRows.Count > 2 && TGroups.Count > 1) Join<TColumns>(stack + 288, ref c9, ref d9);
                if (TRows.Count > 3 && TGroups.Count > 1) Join<TColumns>(stack + 320, ref c10, ref d10);
                if (TRows.Count > 4 && TGroups.Count > 1) Join<TColumns>(stack + 352, ref c11, ref d11);
                if (TRows.Count > 5 && TGroups.Count > 1) Join<TColumns>(stack + 384, ref c12, ref d12);
                if (TRows.Count > 6 && TGroups.Count > 1) Join<TColumns>(stack + 416, ref c13, ref d13);
                if (TGroups.Count > 2) Join<TColumns>(stack + 96, ref c3, ref d3);
                if (TRows.Count > 1 && TGroups.Count > 2) Join<TColumns>(stack + 128, ref c4, ref d4);
                if (TRows.Count > 2 && TGroups.Count > 2) Join<TColumns>(stack + 160, ref c5, ref d5);
            }
            Push<TColumns>(stack + 0, ref c0, ref d0);
            if (TRows.Count > 1) Push<TColumns>(stack + 32, ref c1, ref d1);
            if (TRows.Count > 2) Push<TColumns>(stack + 64, ref c2, ref d2);
            if (TRows.Count > 3) Push<TColumns>(stack + 96, ref c3, ref d3);
            if (TRows.Count > 4) Push<TColumns>(stack + 128, ref c4, ref d4);
            if (TRows.Count > 5) Push<TColumns>(stack + 160, ref c5, ref d5);
            if (TRows.Count > 6) Push<TColumns>(stack + 192, ref c6, ref d6);
            if (TGroups.Count > 1) Push<TColumns>(stack + 224, ref c7, ref d7);
            if (TRows.Count > 1 && TGroups.Count > 1) Push<TColumns>(stack + 256, ref c8, ref d8);
            if (TRows.Count > 2 && TGroups.Count > 1) Push<TColumns>(stack + 288, ref c9, ref d9);
            if (TRows.Count > 3 && TGroups.Count > 1) Push<TColumns>(stack + 320, ref c10, ref d10);
            if (TRows.Count > 4 && TGroups.Count > 1) Push<TColumns>(stack + 352, ref c11, ref d11);
            if (TRows.Count > 5 && TGroups.Count > 1) Push<TColumns>(stack + 384, ref c12, ref d12);
            if (TRows.Count > 6 && TGroups.Count > 1) Push<TColumns>(stack + 416, ref c13, ref d13);
            if (TGroups.Count > 2) Push<TColumns>(stack + 96, ref c3, ref d3);
            if (TRows.Count > 1 && TGroups.Count > 2) Push<TColumns>(stack + 128, ref c4, ref d4);
            if (TRows.Count > 2 && TGroups.Count > 2) Push<TColumns>(stack + 160, ref c5, ref d5);
            if (--left == 0) return;
            stack += ConvTileArguments.TileSize;
        }
        int columns = t.Columns;
        if (t.Bias != null)
        {
            Load<TColumns>(t.Bias, out Vector512<float> x0, out Vector512<float> x1);
            Add<TColumns>(x0, x1, ref c0, ref d0);
            if (TRows.Count > 1) Add<TColumns>(x0, x1, ref c1, ref d1);
            if (TRows.Count > 2) Add<TColumns>(x0, x1, ref c2, ref d2);
            if (TRows.Count > 3) Add<TColumns>(x0, x1, ref c3, ref d3);
            if (TRows.Count > 4) Add<TColumns>(x0, x1, ref c4, ref d4);
            if (TRows.Count > 5) Add<TColumns>(x0, x1, ref c5, ref d5);
            if (TRows.Count > 6) Add<TColumns>(x0, x1, ref c6, ref d6);
            if (TGroups.Count > 1) Add<TColumns>(x0, x1, ref c7, ref d7);
            if (TRows.Count > 1 && TGroups.Count > 1) Add<TColumns>(x0, x1, ref c8, ref d8);
            if (TRows.Count > 2 && TGroups.Count > 1) Add<TColumns>(x0, x1, ref c9, ref d9);
            if (TRows.Count > 3 && TGroups.Count > 1) Add<TColumns>(x0, x1, ref c10, ref d10);
            if (TRows.Count > 4 && TGroups.Count > 1) Add<TColumns>(x0, x1, ref c11, ref d11);
            if (TRows.Count > 5 && TGroups.Count > 1) Add<TColumns>(x0, x1, ref c12, ref d12);
            if (TRows.Count > 6 && TGroups.Count > 1) Add<TColumns>(x0, x1, ref c13, ref d13);
        }
        if (t.Relu)
        {
            Relu<TColumns>(ref c0, ref d0);
            if (TRows.Count > 1) Relu<TColumns>(ref c1, ref d1);
            if (TRows.Count > 2) Relu<TColumns>(ref c2, ref d2);
            if (TRows.Count > 3) Relu<TColumns>(ref c3, ref d3);
            if (TRows.Count > 4) Relu<TColumns>(ref c4, ref d4);
            if (TRows.Count > 5) Relu<TColumns>(ref c5, ref d5);
            if (TRows.Count > 6) Relu<TColumns>(ref c6, ref d6);
            if (TGroups.Count > 1) Relu<TColumns>(ref c7, ref d7);
            if (TRows.Count > 1 && TGroups.Count > 1) Relu<TColumns>(ref c8, ref d8);
            if (TRows.Count > 2 && TGroups.Count > 1) Relu<TColumns>(ref c9, ref d9);
            if (TRows.Count > 3 && TGroups.Count > 1) Relu<TColumns>(ref c10, ref d10);
            if (TRows.Count > 4 && TGroups.Count > 1) Relu<TColumns>(ref c11, ref d11);
            if (TRows.Count > 5 && TGroups.Count > 1) Relu<TColumns>(ref c12, ref d12);
            if (TRows.Count > 6 && TGroups.Count > 1) Relu<TColumns>(ref c13, ref d13);
        }
        float* to = t.To0;
        nint s1 = t.ToStride;
        Store<TColumns>(to, columns, c0, d0);
        if (TRows.Count > 1) Store<TColumns>(to + s1, columns, c1, d1);
        if (TRows.Count > 2) Store<TColumns>(to + (2 * s1), columns, c2, d2);
        if (TRows.Count > 3) Store<TColumns>(to + (3 * s1), columns, c3, d3);
        if (TRows.Count > 4) Store<TColumns>(to + (4 * s1), columns, c4, d4);
        if (TRows.Count > 5) Store<TColumns>(to + (5 * s1), columns, c5, d5);
        if (TRows.Count > 6) Store<TColumns>(to + (6 * s1), columns, c6, d6);
        to = t.To1;
        if (TGroups.Count > 1) Store<TColumns>(to, columns, c7, d7);
        if (TRows.Count > 1 && TGroups.Count > 1) Store<TColumns>(to + s1, columns, c8, d8);
        if (TRows.Count > 2 && TGroups.Count > 1) Store<TColumns>(to + (2 * s1), columns, c9, d9);
        if (TRows.Count > 3 && TGroups.Count > 1) Store<TColumns>(to + (3 * s1), columns, c10, d10);
        if (TRows.Count > 4 && TGroups.Count > 1) Store<TColumns>(to + (4 * s1), columns, c11, d11);
        if (TRows.Count > 5 && TGroups.Count > 1) Store<TColumns>(to + (5 * s1), columns, c12, d12);
        if (TRows.Count > 6 && TGroups.Count > 1) Store<TColumns>(to + (6 * s1), columns, c13, d13);
    }

    // Two steps of a strip that is larger than the L1 cache: the hardware alone brings it too late.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ahead<TColumns>(float* b)
        where TColumns : struct, ITileColumns
    {
        Sse.Prefetch0(b);
        Sse.Prefetch0(b + 16);
        if (TColumns.Blocks == 1) return;
        Sse.Prefetch0(b + 32);
        Sse.Prefetch0(b + 48);
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
    private static void Load<TColumns>(float* source, out Vector512<float> c, out Vector512<float> d)
        where TColumns : struct, ITileColumns
    {
        c = Vector512.Load(source);
        d = TColumns.Blocks > 1 ? Vector512.Load(source + 16) : Vector512<float>.Zero;
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
    private static void Join<TColumns>(float* tile, ref Vector512<float> c, ref Vector512<float> d)
        where TColumns : struct, ITileColumns
    {
        c = Vector512.Load(tile) + c;
        if (TColumns.Blocks > 1) d = Vector512.Load(tile + 16) + d;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Push<TColumns>(float* tile, ref Vector512<float> c, ref Vector512<float> d)
        where TColumns : struct, ITileColumns
    {
        c.Store(tile);
        c = Vector512<float>.Zero;
        if (TColumns.Blocks > 1) d.Store(tile + 16);
        d = Vector512<float>.Zero;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add<TColumns>(Vector512<float> b0, Vector512<float> b1, ref Vector512<float> c, ref Vector512<float> d)
        where TColumns : struct, ITileColumns
    {
        c += b0;
        if (TColumns.Blocks > 1) d += b1;
    }

    // As ReluOperator: below zero becomes +0, -0 and NaN stay.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Relu<TColumns>(ref Vector512<float> c, ref Vector512<float> d)
        where TColumns : struct, ITileColumns
    {
        Vector512<float> zero = Vector512<float>.Zero;
        c = Vector512.ConditionalSelect(Vector512.LessThan(c, zero), zero, c);
        if (TColumns.Blocks > 1) d = Vector512.ConditionalSelect(Vector512.LessThan(d, zero), zero, d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Mask(int count) =>
        Vector512.LessThan(Vector512<int>.Indices, Vector512.Create(count)).AsSingle();
}
