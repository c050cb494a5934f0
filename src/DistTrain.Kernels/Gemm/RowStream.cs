using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// C = A·B for up to four rows and a B too large for the near caches: B streams by, a few of its rows at a time from
/// end to end, as memory likes it, while the rows of C stay in the L1 cache. Every element is one chain over k
/// ascending, as everywhere.
/// </summary>
internal static unsafe class RowStream
{
    /// <summary>The most rows of A that go this way.</summary>
    public const int MaxRows = 4;

    // Columns of C that are worked on at once: four rows of them fill half of a small L1 cache.
    private const int BlockN = 1024;

    public static void Run(in GemmProblem p, SimdLevel level)
    {
        switch (level)
        {
            case SimdLevel.Vector512: Rows<Lanes512>(in p); break;
            case SimdLevel.Vector256: Rows<Lanes256>(in p); break;
            case SimdLevel.Vector128: Rows<Lanes128>(in p); break;
            default: Rows<LanesScalar>(in p); break;
        }
    }

    private static void Rows<T>(in GemmProblem p)
        where T : struct, ILanes<T>
    {
        for (nint j = 0; j < p.N; j += BlockN)
        {
            int columns = (int)Math.Min(BlockN, p.N - j);
            nint height = 0;
            for (nint i = 0; i < p.M; i += height)
            {
                GemmProblem part = p.Part(i, p.M - i, j, columns);
                height = part.M >= 4 ? 4 : part.M >= 2 ? 2 : 1;
                if (height == 4) Block<T, Rows4>(in part);
                else if (height == 2) Block<T, Rows2>(in part);
                else Block<T, Rows1>(in part);
                if (part.Finish.Needed) part.Finish.Run<T>(part.C, part.StrideC, part.C, part.StrideC, (int)height, columns, 0, 0);
            }
        }
    }

    private static void Block<T, TRows>(in GemmProblem p)
        where T : struct, ILanes<T>
        where TRows : struct, ICount
    {
        for (int r = 0; r < TRows.Count; r++) new Span<float>(p.C + (r * p.StrideC), (int)p.N).Clear();
        nint k = 0;
        for (; k <= p.K - 4; k += 4) Four<T, TRows>(p.A + (k * p.StepA), p.RowA, p.StepA, p.B + (k * p.StepB), p.StepB, p.N, p.C, p.StrideC);
        for (; k < p.K; k++) One<T, TRows>(p.A + (k * p.StepA), p.RowA, p.B + (k * p.StepB), p.N, p.C, p.StrideC);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four<T, TRows>(float* a, nint rowA, nint stepA, float* b, nint stepB, nint columns, float* c, nint strideC)
        where T : struct, ILanes<T>
        where TRows : struct, ICount
    {
        Elements<T>(a, stepA, out T a00, out T a01, out T a02, out T a03);
        Elements<T>(TRows.Count > 1 ? a + rowA : a, stepA, out T a10, out T a11, out T a12, out T a13);
        Elements<T>(TRows.Count > 2 ? a + (2 * rowA) : a, stepA, out T a20, out T a21, out T a22, out T a23);
        Elements<T>(TRows.Count > 2 ? a + (3 * rowA) : a, stepA, out T a30, out T a31, out T a32, out T a33);
        float* b1 = b + stepB;
        float* b2 = b1 + stepB;
        float* b3 = b2 + stepB;
        nint j = 0;
        for (; j <= columns - 16; j += 16)
        {
            T x0 = T.Load(b + j), x1 = T.Load(b1 + j), x2 = T.Load(b2 + j), x3 = T.Load(b3 + j);
            T.Store(c + j, T.Fma(a03, x3, T.Fma(a02, x2, T.Fma(a01, x1, T.Fma(a00, x0, T.Load(c + j))))));
            float* d = c + strideC + j;
            if (TRows.Count > 1) T.Store(d, T.Fma(a13, x3, T.Fma(a12, x2, T.Fma(a11, x1, T.Fma(a10, x0, T.Load(d))))));
            if (TRows.Count <= 2) continue;
            d += strideC;
            T.Store(d, T.Fma(a23, x3, T.Fma(a22, x2, T.Fma(a21, x1, T.Fma(a20, x0, T.Load(d))))));
            d += strideC;
            T.Store(d, T.Fma(a33, x3, T.Fma(a32, x2, T.Fma(a31, x1, T.Fma(a30, x0, T.Load(d))))));
        }
        if (j == columns) return;
        int rest = (int)(columns - j);
        T y0 = T.LoadPartial(b + j, rest), y1 = T.LoadPartial(b1 + j, rest), y2 = T.LoadPartial(b2 + j, rest), y3 = T.LoadPartial(b3 + j, rest);
        for (int r = 0; r < TRows.Count; r++)
        {
            float* d = c + (r * strideC) + j;
            Elements<T>(a + (r * rowA), stepA, out T e0, out T e1, out T e2, out T e3);
            T.StorePartial(d, T.Fma(e3, y3, T.Fma(e2, y2, T.Fma(e1, y1, T.Fma(e0, y0, T.LoadPartial(d, rest))))), rest);
        }
    }

    private static void One<T, TRows>(float* a, nint rowA, float* b, nint columns, float* c, nint strideC)
        where T : struct, ILanes<T>
        where TRows : struct, ICount
    {
        for (int r = 0; r < TRows.Count; r++)
        {
            T x = T.BroadcastFrom(a + (r * rowA));
            float* d = c + (r * strideC);
            for (nint j = 0; j < columns; j += 16)
            {
                int rest = (int)Math.Min(16, columns - j);
                T.StorePartial(d + j, T.Fma(x, T.LoadPartial(b + j, rest), T.LoadPartial(d + j, rest)), rest);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Elements<T>(float* a, nint step, out T a0, out T a1, out T a2, out T a3)
        where T : struct, ILanes<T>
    {
        a0 = T.BroadcastFrom(a);
        a1 = T.BroadcastFrom(a + step);
        a2 = T.BroadcastFrom(a + (2 * step));
        a3 = T.BroadcastFrom(a + (3 * step));
    }
}
