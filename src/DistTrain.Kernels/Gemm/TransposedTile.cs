using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// C = A·Bᵀ for a few rows: B is transposed 16 rows by 4 columns in registers and used at once, since packing would
/// cost more than the few multiplications that follow. Every element is one chain over k ascending, as everywhere.
/// </summary>
internal static unsafe class TransposedTile
{
    /// <summary>The most rows of A that go this way; the columns come in whole sixteens.</summary>
    public const int MaxRows = 12;

    public static void Run(in GemmProblem p, SimdLevel level)
    {
        switch (level)
        {
            case SimdLevel.Vector512: Columns<Lanes512>(in p); break;
            case SimdLevel.Vector256: Columns<Lanes256>(in p); break;
            case SimdLevel.Vector128: Columns<Lanes128>(in p); break;
            default: Columns<LanesScalar>(in p); break;
        }
    }

    private static void Columns<T>(in GemmProblem p)
        where T : struct, ILanes<T>
    {
        bool finish = p.Finish.Needed;
        for (nint j = 0; j < p.N; j += 16)
        {
            int height = 0;
            for (nint i = 0; i < p.M; i += height)
            {
                float* a = p.A + (i * p.RowA);
                float* b = p.B + (j * p.ColumnB);
                float* c = p.C + (i * p.StrideC) + j;
                nint rows = p.M - i;
                if (rows >= 8 && T.TileRows >= 12)
                {
                    height = 8;
                    Tile<T, Rows8>(a, p.RowA, b, p.ColumnB, p.K, c, p.StrideC);
                }
                else if (rows >= 4)
                {
                    height = 4;
                    Tile<T, Rows4>(a, p.RowA, b, p.ColumnB, p.K, c, p.StrideC);
                }
                else if (rows >= 2)
                {
                    height = 2;
                    Tile<T, Rows2>(a, p.RowA, b, p.ColumnB, p.K, c, p.StrideC);
                }
                else
                {
                    height = 1;
                    Tile<T, Rows1>(a, p.RowA, b, p.ColumnB, p.K, c, p.StrideC);
                }
                if (finish) p.Finish.Run<T>(c, p.StrideC, c, p.StrideC, height, 16, i, j);
            }
        }
    }

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile<T, TRows>(float* a, nint rowA, float* b, nint columnB, nint depth, float* c, nint strideC)
        where T : struct, ILanes<T>
        where TRows : struct, ICount
    {
        T c0 = T.Zero, c1 = T.Zero, c2 = T.Zero, c3 = T.Zero, c4 = T.Zero, c5 = T.Zero, c6 = T.Zero, c7 = T.Zero;
        float* a4 = a + (4 * rowA);
        nint r1 = rowA, r2 = 2 * rowA, r3 = 3 * rowA;
        nint k = 0;
        if (typeof(T) == typeof(Lanes512) && TRows.Count <= 2)
        {
            k = TransposedTile512.Run<TRows>(a, a + r1, b, columnB, depth, c, c + strideC);
            c0 = T.Load(c);
            if (TRows.Count > 1) c1 = T.Load(c + strideC);
        }
        for (; k <= depth - 4; k += 4)
        {
            T.LoadColumns(b + k, columnB, 16, out T b0, out T b1, out T b2, out T b3);
            Four(a + k, b0, b1, b2, b3, ref c0);
            if (TRows.Count > 1) Four(a + k + r1, b0, b1, b2, b3, ref c1);
            if (TRows.Count > 2) Four(a + k + r2, b0, b1, b2, b3, ref c2);
            if (TRows.Count > 2) Four(a + k + r3, b0, b1, b2, b3, ref c3);
            if (TRows.Count > 4) Four(a4 + k, b0, b1, b2, b3, ref c4);
            if (TRows.Count > 4) Four(a4 + k + r1, b0, b1, b2, b3, ref c5);
            if (TRows.Count > 4) Four(a4 + k + r2, b0, b1, b2, b3, ref c6);
            if (TRows.Count > 4) Four(a4 + k + r3, b0, b1, b2, b3, ref c7);
        }
        float* gathered = stackalloc float[16];
        for (; k < depth; k++)
        {
            for (int j = 0; j < 16; j++) gathered[j] = b[(j * columnB) + k];
            T x = T.Load(gathered);
            c0 = T.Fma(T.BroadcastFrom(a + k), x, c0);
            if (TRows.Count > 1) c1 = T.Fma(T.BroadcastFrom(a + k + r1), x, c1);
            if (TRows.Count > 2) c2 = T.Fma(T.BroadcastFrom(a + k + r2), x, c2);
            if (TRows.Count > 2) c3 = T.Fma(T.BroadcastFrom(a + k + r3), x, c3);
            if (TRows.Count > 4) c4 = T.Fma(T.BroadcastFrom(a4 + k), x, c4);
            if (TRows.Count > 4) c5 = T.Fma(T.BroadcastFrom(a4 + k + r1), x, c5);
            if (TRows.Count > 4) c6 = T.Fma(T.BroadcastFrom(a4 + k + r2), x, c6);
            if (TRows.Count > 4) c7 = T.Fma(T.BroadcastFrom(a4 + k + r3), x, c7);
        }
        T.Store(c, c0);
        if (TRows.Count > 1) T.Store(c + strideC, c1);
        if (TRows.Count > 2) T.Store(c + (2 * strideC), c2);
        if (TRows.Count > 2) T.Store(c + (3 * strideC), c3);
        if (TRows.Count > 4) T.Store(c + (4 * strideC), c4);
        if (TRows.Count > 4) T.Store(c + (5 * strideC), c5);
        if (TRows.Count > 4) T.Store(c + (6 * strideC), c6);
        if (TRows.Count > 4) T.Store(c + (7 * strideC), c7);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Four<T>(float* a, T b0, T b1, T b2, T b3, ref T c)
        where T : struct, ILanes<T>
    {
        c = T.Fma(T.BroadcastFrom(a), b0, c);
        c = T.Fma(T.BroadcastFrom(a + 1), b1, c);
        c = T.Fma(T.BroadcastFrom(a + 2), b2, c);
        c = T.Fma(T.BroadcastFrom(a + 3), b3, c);
    }
}
