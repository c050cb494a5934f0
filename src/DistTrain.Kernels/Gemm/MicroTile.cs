using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// The register tile that every GEMM is made of: TRows rows by one or two blocks of 16 columns, each element one chain
/// of fused multiply-adds from its start over k ascending. All accumulators live in registers: this is why the tile is
/// written out line by line.
/// </summary>
internal static unsafe class MicroTile
{
    /// <summary>Computes one tile; the row count is TRows, the columns those of TColumns, or fewer with a partial one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<T, TRows, TColumns, TWalk>(ref TileArguments t)
        where T : struct, ILanes<T>
        where TRows : struct, ICount
        where TColumns : struct, ITileColumns
        where TWalk : struct, IRowWalk
    {
        float* a = t.A;
        float* b = t.B;
        nint step = t.StepA;
        nint stepB = t.StepB;
        int columns = t.Columns;
        // Rows 0 to 3 are reached from a, 4 to 7 from a + 4 strides, 8 to 11 from a + 8: five registers for twelve rows.
        nint r1 = TWalk.Unit ? 1 : t.RowStrideA;
        nint r2 = r1 * 2, r3 = r1 * 3, r4 = r1 * 4;
        T c0 = T.Zero, d0 = T.Zero;
        T c1 = T.Zero, d1 = T.Zero;
        T c2 = T.Zero, d2 = T.Zero;
        T c3 = T.Zero, d3 = T.Zero;
        T c4 = T.Zero, d4 = T.Zero;
        T c5 = T.Zero, d5 = T.Zero;
        T c6 = T.Zero, d6 = T.Zero;
        T c7 = T.Zero, d7 = T.Zero;
        T c8 = T.Zero, d8 = T.Zero;
        T c9 = T.Zero, d9 = T.Zero;
        T c10 = T.Zero, d10 = T.Zero;
        T c11 = T.Zero, d11 = T.Zero;
        if (t.From != null)
        {
            float* from = t.From;
            nint stride = t.FromStride;
            Load<T, TColumns>(from, columns, out c0, out d0);
            if (TRows.Count > 1) Load<T, TColumns>(from + stride, columns, out c1, out d1);
            if (TRows.Count > 2) Load<T, TColumns>(from + (2 * stride), columns, out c2, out d2);
            if (TRows.Count > 3) Load<T, TColumns>(from + (3 * stride), columns, out c3, out d3);
            if (TRows.Count > 4) Load<T, TColumns>(from + (4 * stride), columns, out c4, out d4);
            if (TRows.Count > 5) Load<T, TColumns>(from + (5 * stride), columns, out c5, out d5);
            if (TRows.Count > 6) Load<T, TColumns>(from + (6 * stride), columns, out c6, out d6);
            if (TRows.Count > 7) Load<T, TColumns>(from + (7 * stride), columns, out c7, out d7);
            if (TRows.Count > 8) Load<T, TColumns>(from + (8 * stride), columns, out c8, out d8);
            if (TRows.Count > 9) Load<T, TColumns>(from + (9 * stride), columns, out c9, out d9);
            if (TRows.Count > 10) Load<T, TColumns>(from + (10 * stride), columns, out c10, out d10);
            if (TRows.Count > 11) Load<T, TColumns>(from + (11 * stride), columns, out c11, out d11);
        }
        for (nint k = t.Depth; k > 0; k--)
        {
            Load<T, TColumns>(b, columns, out T b0, out T b1);
            Step<T, TColumns>(a, b0, b1, ref c0, ref d0);
            if (TRows.Count > 1) Step<T, TColumns>(a + r1, b0, b1, ref c1, ref d1);
            if (TRows.Count > 2) Step<T, TColumns>(a + r2, b0, b1, ref c2, ref d2);
            if (TRows.Count > 3) Step<T, TColumns>(a + r3, b0, b1, ref c3, ref d3);
            float* a4 = a + r4;
            if (TRows.Count > 4) Step<T, TColumns>(a4, b0, b1, ref c4, ref d4);
            if (TRows.Count > 5) Step<T, TColumns>(a4 + r1, b0, b1, ref c5, ref d5);
            if (TRows.Count > 6) Step<T, TColumns>(a4 + r2, b0, b1, ref c6, ref d6);
            if (TRows.Count > 7) Step<T, TColumns>(a4 + r3, b0, b1, ref c7, ref d7);
            float* a8 = a + (r4 * 2);
            if (TRows.Count > 8) Step<T, TColumns>(a8, b0, b1, ref c8, ref d8);
            if (TRows.Count > 9) Step<T, TColumns>(a8 + r1, b0, b1, ref c9, ref d9);
            if (TRows.Count > 10) Step<T, TColumns>(a8 + r2, b0, b1, ref c10, ref d10);
            if (TRows.Count > 11) Step<T, TColumns>(a8 + r3, b0, b1, ref c11, ref d11);
            a += step;
            b += stepB;
        }
        float* joined = t.Joins;
        for (int join = t.JoinCount; join > 0; join--)
        {
            Join<T, TColumns>(joined, ref c0, ref d0);
            if (TRows.Count > 1) Join<T, TColumns>(joined + 32, ref c1, ref d1);
            if (TRows.Count > 2) Join<T, TColumns>(joined + 64, ref c2, ref d2);
            if (TRows.Count > 3) Join<T, TColumns>(joined + 96, ref c3, ref d3);
            if (TRows.Count > 4) Join<T, TColumns>(joined + 128, ref c4, ref d4);
            if (TRows.Count > 5) Join<T, TColumns>(joined + 160, ref c5, ref d5);
            if (TRows.Count > 6) Join<T, TColumns>(joined + 192, ref c6, ref d6);
            if (TRows.Count > 7) Join<T, TColumns>(joined + 224, ref c7, ref d7);
            if (TRows.Count > 8) Join<T, TColumns>(joined + 256, ref c8, ref d8);
            if (TRows.Count > 9) Join<T, TColumns>(joined + 288, ref c9, ref d9);
            if (TRows.Count > 10) Join<T, TColumns>(joined + 320, ref c10, ref d10);
            if (TRows.Count > 11) Join<T, TColumns>(joined + 352, ref c11, ref d11);
            joined -= TileArguments.TileSize;
        }
        float* to = t.To;
        nint toStride = t.ToStride;
        Store<T, TColumns>(to, columns, c0, d0);
        if (TRows.Count > 1) Store<T, TColumns>(to + toStride, columns, c1, d1);
        if (TRows.Count > 2) Store<T, TColumns>(to + (2 * toStride), columns, c2, d2);
        if (TRows.Count > 3) Store<T, TColumns>(to + (3 * toStride), columns, c3, d3);
        if (TRows.Count > 4) Store<T, TColumns>(to + (4 * toStride), columns, c4, d4);
        if (TRows.Count > 5) Store<T, TColumns>(to + (5 * toStride), columns, c5, d5);
        if (TRows.Count > 6) Store<T, TColumns>(to + (6 * toStride), columns, c6, d6);
        if (TRows.Count > 7) Store<T, TColumns>(to + (7 * toStride), columns, c7, d7);
        if (TRows.Count > 8) Store<T, TColumns>(to + (8 * toStride), columns, c8, d8);
        if (TRows.Count > 9) Store<T, TColumns>(to + (9 * toStride), columns, c9, d9);
        if (TRows.Count > 10) Store<T, TColumns>(to + (10 * toStride), columns, c10, d10);
        if (TRows.Count > 11) Store<T, TColumns>(to + (11 * toStride), columns, c11, d11);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step<T, TColumns>(float* a, T b0, T b1, ref T c, ref T d)
        where T : struct, ILanes<T>
        where TColumns : struct, ITileColumns
    {
        T x = T.BroadcastFrom(a);
        c = T.Fma(x, b0, c);
        if (TColumns.Blocks > 1) d = T.Fma(x, b1, d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Load<T, TColumns>(float* source, int columns, out T c, out T d)
        where T : struct, ILanes<T>
        where TColumns : struct, ITileColumns
    {
        d = T.Zero;
        if (TColumns.Blocks == 1)
        {
            c = TColumns.Partial ? T.LoadPartial(source, columns) : T.Load(source);
        }
        else
        {
            c = T.Load(source);
            d = TColumns.Partial ? T.LoadPartial(source + 16, columns - 16) : T.Load(source + 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<T, TColumns>(float* target, int columns, T c, T d)
        where T : struct, ILanes<T>
        where TColumns : struct, ITileColumns
    {
        if (TColumns.Blocks == 1)
        {
            if (TColumns.Partial) T.StorePartial(target, c, columns);
            else T.Store(target, c);
        }
        else
        {
            T.Store(target, c);
            if (TColumns.Partial) T.StorePartial(target + 16, d, columns - 16);
            else T.Store(target + 16, d);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Join<T, TColumns>(float* tile, ref T c, ref T d)
        where T : struct, ILanes<T>
        where TColumns : struct, ITileColumns
    {
        c = T.Load(tile) + c;
        if (TColumns.Blocks > 1) d = T.Load(tile + 16) + d;
    }
}
