using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// The register tile of convolutions for widths below 512 bits: <see cref="ConvTile512"/> with up to two groups of 3
/// rows by 16 columns.
/// </summary>
internal static unsafe class ConvTile
{
    /// <summary>Computes one tile: as <see cref="ConvTileArguments"/> says.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<T, TRows, TGroups, TColumns, TWalk>(ref ConvTileArguments t)
        where T : struct, ILanes<T>
        where TRows : struct, ICount
        where TGroups : struct, ICount
        where TColumns : struct, ITileColumns
        where TWalk : struct, IWalk
    {
        nint r1 = TWalk.UnitRows ? 1 : t.RowStride;
        nint r2 = r1 * 2;
        nint step = TWalk.UnitRows ? t.Step : 1;
        nint stepB = t.StepB;
        T c0 = T.Zero;
        T c1 = T.Zero;
        T c2 = T.Zero;
        T c3 = T.Zero;
        T c4 = T.Zero;
        T c5 = T.Zero;
        ConvSegment* segment = t.Segments;
        ConvPiece* piece = t.Pieces;
        float* stack = t.Stack;
        if (TWalk.UnitRows && t.Continues)
        {
            c0 = T.Load(stack + 0);
            if (TRows.Count > 1) c1 = T.Load(stack + 32);
            if (TRows.Count > 2) c2 = T.Load(stack + 64);
            if (TGroups.Count > 1) c3 = T.Load(stack + 224);
            if (TRows.Count > 1 && TGroups.Count > 1) c4 = T.Load(stack + 256);
            if (TRows.Count > 2 && TGroups.Count > 1) c5 = T.Load(stack + 288);
        }
        for (int left = t.PieceCount; ; piece++)
        {
            for (int count = piece->Segments; count > 0; count--, segment++)
            {
                float* a = t.A0 + segment->A;
                float* e = TGroups.Count > 1 ? t.A1 + segment->A : a;
                float* b = t.B + segment->B;
                for (nint k = t.Length; k > 0; k--)
                {
                    T x = T.Load(b);
                    c0 = T.Fma(T.BroadcastFrom(a), x, c0);
                    if (TRows.Count > 1) c1 = T.Fma(T.BroadcastFrom(a + r1), x, c1);
                    if (TRows.Count > 2) c2 = T.Fma(T.BroadcastFrom(a + r2), x, c2);
                    if (TGroups.Count > 1) c3 = T.Fma(T.BroadcastFrom(e), x, c3);
                    if (TRows.Count > 1 && TGroups.Count > 1) c4 = T.Fma(T.BroadcastFrom(e + r1), x, c4);
                    if (TRows.Count > 2 && TGroups.Count > 1) c5 = T.Fma(T.BroadcastFrom(e + r2), x, c5);
                    a += step;
                    e += step;
                    b += stepB;
                }
            }
            if (!TWalk.UnitRows) break;
            for (int joins = piece->Joins; joins > 0; joins--)
            {
                stack -= ConvTileArguments.TileSize;
                c0 = T.Load(stack + 0) + c0;
                if (TRows.Count > 1) c1 = T.Load(stack + 32) + c1;
                if (TRows.Count > 2) c2 = T.Load(stack + 64) + c2;
                if (TGroups.Count > 1) c3 = T.Load(stack + 224) + c3;
                if (TRows.Count > 1 && TGroups.Count > 1) c4 = T.Load(stack + 256) + c4;
                if (TRows.Count > 2 && TGroups.Count > 1) c5 = T.Load(stack + 288) + c5;
            }
            Push(stack + 0, ref c0);
            if (TRows.Count > 1) Push(stack + 32, ref c1);
            if (TRows.Count > 2) Push(stack + 64, ref c2);
            if (TGroups.Count > 1) Push(stack + 224, ref c3);
            if (TRows.Count > 1 && TGroups.Count > 1) Push(stack + 256, ref c4);
            if (TRows.Count > 2 && TGroups.Count > 1) Push(stack + 288, ref c5);
            if (--left == 0) return;
            stack += ConvTileArguments.TileSize;
        }
        int columns = t.Columns;
        if (t.Bias != null)
        {
            T x = T.Load(t.Bias);
            c0 += x;
            if (TRows.Count > 1) c1 += x;
            if (TRows.Count > 2) c2 += x;
            if (TGroups.Count > 1) c3 += x;
            if (TRows.Count > 1 && TGroups.Count > 1) c4 += x;
            if (TRows.Count > 2 && TGroups.Count > 1) c5 += x;
        }
        if (t.Relu)
        {
            ReluOperator relu = default;
            c0 = relu.Apply(c0);
            if (TRows.Count > 1) c1 = relu.Apply(c1);
            if (TRows.Count > 2) c2 = relu.Apply(c2);
            if (TGroups.Count > 1) c3 = relu.Apply(c3);
            if (TRows.Count > 1 && TGroups.Count > 1) c4 = relu.Apply(c4);
            if (TRows.Count > 2 && TGroups.Count > 1) c5 = relu.Apply(c5);
        }
        float* to = t.To0;
        nint stride = t.ToStride;
        Store<T, TColumns>(to, columns, c0);
        if (TRows.Count > 1) Store<T, TColumns>(to + stride, columns, c1);
        if (TRows.Count > 2) Store<T, TColumns>(to + (2 * stride), columns, c2);
        to = t.To1;
        if (TGroups.Count > 1) Store<T, TColumns>(to, columns, c3);
        if (TRows.Count > 1 && TGroups.Count > 1) Store<T, TColumns>(to + stride, columns, c4);
        if (TRows.Count > 2 && TGroups.Count > 1) Store<T, TColumns>(to + (2 * stride), columns, c5);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Push<T>(float* tile, ref T c)
        where T : struct, ILanes<T>
    {
        T.Store(tile, c);
        c = T.Zero;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<T, TColumns>(float* target, int columns, T c)
        where T : struct, ILanes<T>
        where TColumns : struct, ITileColumns
    {
        if (TColumns.Partial) T.StorePartial(target, c, columns);
        else T.Store(target, c);
    }
}
