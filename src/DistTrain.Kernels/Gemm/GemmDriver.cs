using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Cuts a GEMM into blocks that fit the caches and into tiles that fit the registers. The cuts over k keep each
/// element's partial sum exactly, in C itself, so they never show in the bits.
/// </summary>
internal static unsafe class GemmDriver
{
    // Blocks of A (k by m) and B (k by n) that fit the L2 cache together with what streams past them.
    private const int BlockK = 520;
    private const int BlockM = 192;
    private const int BlockN = 1024;

    // A block of B that only one block of A goes over is used at once, and small enough to be in the L2 cache then.
    private const int BlockElementsOnce = 200 * 1024;

    // A B that is read in place and only once goes by blocks of k whose rows the first-level TLB holds.
    private const int BlockKInPlace = 64;

    private const int InPlaceElements = 64 * 1024;

    // Multiplications that a thread should have at least.
    private const double GrainWork = 256 * 1024;

    public static void Run(in GemmProblem problem, KernelPool? pool)
    {
        SimdLevel level = SimdPath.Current;
        int parts = Parts(in problem, pool);
        if (parts <= 1)
        {
            if (problem.ColumnB == 1 && !problem.Finish.ReadsC && !PaysPackingA(problem) && !PaysPackingB(problem)) Direct(in problem, level);
            else Dispatch(in problem, level);
            return;
        }
        pool!.Run(parts, new Body { Problem = problem, Level = level, Parts = parts, ByColumns = problem.N >= problem.M });
    }

    private static int Parts(in GemmProblem problem, KernelPool? pool)
    {
        if (pool is null) return 1;
        double work = (double)problem.M * problem.N * Math.Max(problem.K, 1);
        return (int)Math.Min(pool.Threads, 1 + (work / GrainWork));
    }

    private static void Direct(in GemmProblem problem, SimdLevel level)
    {
        switch (level)
        {
            case SimdLevel.Vector512: Direct<Lanes512>(in problem); break;
            case SimdLevel.Vector256: Direct<Lanes256>(in problem); break;
            case SimdLevel.Vector128: Direct<Lanes128>(in problem); break;
            default: Direct<LanesScalar>(in problem); break;
        }
    }

    /// <summary>Runs a small problem on its operands as they lie: no cuts, no panels, hardly any preparation.</summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Direct<T>(in GemmProblem p)
        where T : struct, ILanes<T>
    {
        int width = TileDispatch.Width<T>();
        TileWalk walk = p.RowA == 1 ? TileWalk.UnitRows : TileWalk.StridedRows;
        bool finish = p.Finish.Needed;
        nint depth = p.K;
        Unsafe.SkipInit(out TileArguments t);
        t.Depths = &depth;
        t.Leaves = 1;
        t.Stack = null;
        t.From = null;
        t.RowStrideA = p.RowA;
        t.StepA = p.StepA;
        t.StepB = p.StepB;
        t.ToStride = p.StrideC;
        for (nint j = 0; j < p.N; j += width)
        {
            int columns = (int)Math.Min(width, p.N - j);
            t.Columns = columns;
            t.B = p.B + j;
            t.A = p.A;
            t.To = p.C + j;
            int height = 0;
            delegate*<ref TileArguments, void> kernel = null;
            for (nint left = p.M; left > 0; left -= height)
            {
                int next = TileDispatch.Height<T>(left);
                if (next != height)
                {
                    height = next;
                    kernel = TileDispatch.Select<T>(height, columns, walk);
                }
                kernel(ref t);
                if (finish) p.Finish.Run<T>(t.To, p.StrideC, t.To, p.StrideC, height, columns, j);
                t.A += height * p.RowA;
                t.To += height * p.StrideC;
            }
        }
    }

    private static void Dispatch(in GemmProblem problem, SimdLevel level)
    {
        switch (level)
        {
            case SimdLevel.Vector512: Blocks<Lanes512>(in problem); break;
            case SimdLevel.Vector256: Blocks<Lanes256>(in problem); break;
            case SimdLevel.Vector128: Blocks<Lanes128>(in problem); break;
            default: Blocks<LanesScalar>(in problem); break;
        }
    }

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Blocks<T>(in GemmProblem p)
        where T : struct, ILanes<T>
    {
        nint width = TileDispatch.Width<T>();
        nint paddedN = (p.N + width - 1) / width * width;
        bool packA = PaysPackingA(p);
        bool packB = PaysPackingB(p);
        // With beta the old C is still needed at the end, so that sums can't wait there: one block takes all of k.
        bool streamsB = !packB && p.M <= T.TileRows && p.K * p.N > InPlaceElements;
        nint blockK = p.Finish.ReadsC ? p.K : Even(p.K, streamsB ? BlockKInPlace : BlockK);
        nint blockM = packA ? Even(p.M, BlockM, 12) : p.M;
        nint mostN = p.M > BlockM ? BlockN : Math.Max(BlockElementsOnce / Math.Max(blockK, 1), width);
        nint blockN = packB ? Even(paddedN, mostN, (int)width) : paddedN;
        nint sizeA = packA ? ((blockM * blockK) + Packing.Slack + 15) & ~15 : 0;
        nint sizeB = packB ? blockK * blockN : 0;
        bool inPlace = !packA && !packB && !p.Finish.ReadsC;
        float* panelA = inPlace ? null : Workspace.Get(sizeA + sizeB + TileArguments.TileSize);
        float* panelB = panelA + sizeA;
        float* scratch = panelB + sizeB;

        for (nint j = 0; j < p.N; j += blockN)
        {
            nint columns = Math.Min(blockN, p.N - j);
            nint k = 0;
            do
            {
                nint depth = Math.Min(blockK, p.K - k);
                float* b = p.B + (j * p.ColumnB) + (k * p.StepB);
                if (packB) Packing.PackB<T>(b, p.ColumnB, p.StepB, depth, columns, panelB);
                for (nint i = 0; i < p.M; i += blockM)
                {
                    nint rows = Math.Min(blockM, p.M - i);
                    float* a = p.A + (i * p.RowA) + (k * p.StepA);
                    if (packA) Packing.PackA<T>(a, p.RowA, p.StepA, rows, depth, panelA);
                    var block = new GemmBlock
                    {
                        A = packA ? panelA : a,
                        RowA = packA ? 1 : p.RowA,
                        StepA = packA ? 0 : p.StepA,
                        B = packB ? panelB : b,
                        StepB = packB ? 0 : p.StepB,
                        Rows = rows,
                        Columns = columns,
                        Depth = depth,
                        First = k == 0,
                        Last = k + depth == p.K,
                        C = p.C + (i * p.StrideC) + j,
                        StrideC = p.StrideC,
                        Finish = p.Finish.From(j),
                        Scratch = scratch,
                    };
                    block.Run<T>();
                }
                k += depth;
            }
            while (k < p.K);
        }
    }

    /// <summary>The size of the blocks when <paramref name="count"/> is cut into even ones of about <paramref name="most"/>.</summary>
    private static nint Even(nint count, nint most, int granule = 1)
    {
        nint blocks = (count + most - 1) / most;
        if (blocks <= 1) return count;
        nint size = (count + blocks - 1) / blocks;
        return (size + granule - 1) / granule * granule;
    }

    // Packing a block costs about as much as 6 multiplications with each of its elements; reading it in place costs
    // cache misses once it is larger than the nearer caches.
    private static bool PaysPackingA(in GemmProblem p) => p.N >= 192 || (p.N > 64 && p.M * p.K > InPlaceElements);

    private static bool PaysPackingB(in GemmProblem p) =>
        p.ColumnB != 1 || p.M >= 192 || (p.M > 64 && p.K * p.N > InPlaceElements);

    private struct Body : IParallelBody
    {
        public GemmProblem Problem;
        public SimdLevel Level;
        public int Parts;
        public bool ByColumns;

        public readonly void Run(int part)
        {
            nint count = ByColumns ? Problem.N : Problem.M;
            nint granule = ByColumns ? 32 : 12;
            nint begin = RangeRunner.Cut(count, granule, Parts, part);
            nint size = RangeRunner.Cut(count, granule, Parts, part + 1) - begin;
            if (size == 0) return;
            Dispatch(ByColumns ? Problem.Part(0, Problem.M, begin, size) : Problem.Part(begin, size, 0, Problem.N), Level);
        }
    }
}
