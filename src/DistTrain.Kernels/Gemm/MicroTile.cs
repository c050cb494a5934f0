using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// The register tile that a GEMM is made of: up to 6 rows by 16 columns, each element one chain of fused multiply-adds
/// from its start over k ascending. All accumulators live in registers: this is why the tile is written out line by
/// line. AVX-512, with its 32 registers, has <see cref="MicroTile512"/>, AVX2 <see cref="MicroTile256"/>.
/// </summary>
internal static unsafe class MicroTile
{
    /// <summary>Computes one tile; the row count is TRows, the columns those of TColumns, or fewer with a partial one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<T, TRows, TColumns, TWalk>(ref TileArguments t)
        where T : struct, ILanes<T>
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
        nint r2 = r1 * 2, r3 = r1 * 3, r4 = r1 * 4, r5 = r1 * 5;
        T c0 = T.Zero;
        T c1 = T.Zero;
        T c2 = T.Zero;
        T c3 = T.Zero;
        T c4 = T.Zero;
        T c5 = T.Zero;
        float* stack = t.Stack;
        nint* depths = t.Depths;
        int pending = 0;
        if (t.From != null)
        {
            float* from = t.From;
            nint stride = t.FromStride;
            Load<T, TColumns, UnitRowWalk>(from, columns, out c0);
            if (TRows.Count > 1) Load<T, TColumns, UnitRowWalk>(from + stride, columns, out c1);
            if (TRows.Count > 2) Load<T, TColumns, UnitRowWalk>(from + (2 * stride), columns, out c2);
            if (TRows.Count > 3) Load<T, TColumns, UnitRowWalk>(from + (3 * stride), columns, out c3);
            if (TRows.Count > 4) Load<T, TColumns, UnitRowWalk>(from + (4 * stride), columns, out c4);
            if (TRows.Count > 5) Load<T, TColumns, UnitRowWalk>(from + (5 * stride), columns, out c5);
        }
        for (int leaf = 0; ; leaf++)
        {
            for (nint k = depths[leaf]; k > 0; k--)
            {
                Load<T, TColumns, TWalk>(b, columns, out T x);
                Step<T>(a, x, ref c0);
                if (TRows.Count > 1) Step<T>(a + r1, x, ref c1);
                if (TRows.Count > 2) Step<T>(a + r2, x, ref c2);
                if (TRows.Count > 3) Step<T>(a + r3, x, ref c3);
                if (TRows.Count > 4) Step<T>(a + r4, x, ref c4);
                if (TRows.Count > 5) Step<T>(a + r5, x, ref c5);
                a += step;
                b += stepB;
            }
            bool last = leaf == t.Leaves - 1;
            for (int joins = LeafTree.Joins(leaf, last, pending); joins > 0; joins--)
            {
                pending--;
                stack -= TileArguments.TileSize;
                c0 = T.Load(stack + 0) + c0;
                if (TRows.Count > 1) c1 = T.Load(stack + 32) + c1;
                if (TRows.Count > 2) c2 = T.Load(stack + 64) + c2;
                if (TRows.Count > 3) c3 = T.Load(stack + 96) + c3;
                if (TRows.Count > 4) c4 = T.Load(stack + 128) + c4;
                if (TRows.Count > 5) c5 = T.Load(stack + 160) + c5;
            }
            if (last) break;
            Push(stack + 0, ref c0);
            if (TRows.Count > 1) Push(stack + 32, ref c1);
            if (TRows.Count > 2) Push(stack + 64, ref c2);
            if (TRows.Count > 3) Push(stack + 96, ref c3);
            if (TRows.Count > 4) Push(stack + 128, ref c4);
            if (TRows.Count > 5) Push(stack + 160, ref c5);
            pending++;
            stack += TileArguments.TileSize;
        }
        float* to = t.To;
        nint toStride = t.ToStride;
        Store<T, TColumns>(to, columns, c0);
        if (TRows.Count > 1) Store<T, TColumns>(to + toStride, columns, c1);
        if (TRows.Count > 2) Store<T, TColumns>(to + (2 * toStride), columns, c2);
        if (TRows.Count > 3) Store<T, TColumns>(to + (3 * toStride), columns, c3);
        if (TRows.Count > 4) Store<T, TColumns>(to + (4 * toStride), columns, c4);
        if (TRows.Count > 5) Store<T, TColumns>(to + (5 * toStride), columns, c5);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step<T>(float* a, T b, ref T c)
        where T : struct, ILanes<T> => c = T.Fma(T.BroadcastFrom(a), b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Push<T>(float* tile, ref T c)
        where T : struct, ILanes<T>
    {
        T.Store(tile, c);
        c = T.Zero;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Load<T, TColumns, TWalk>(float* source, int columns, out T c)
        where T : struct, ILanes<T>
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk =>
        // Packed strips are padded, so they are read whole.
        c = TColumns.Partial && !TWalk.Packed ? T.LoadPartial(source, columns) : T.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<T, TColumns>(float* target, int columns, T c)
        where T : struct, ILanes<T>
        where TColumns : struct, ITileColumns
    {
        if (TColumns.Partial) T.StorePartial(target, c, columns);
        else T.Store(target, c);
    }
}
