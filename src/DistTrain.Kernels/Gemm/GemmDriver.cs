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

    // With many rows of at most so many k, and at most so many columns, A is read where it lies, by blocks that the
    // nearer caches hold while the columns pass: packing would cost more than it brings.
    private const int NearRows = 1024;
    private const int NearSide = 512;
    private const int BlockMInPlace = 48;

    // Rows whose sums wait apart from C at once.
    private const int BlockRowsApart = 960;

    // Multiplications that a thread should have at least.
    private const double GrainWork = 256 * 1024;

    public static void Run(in GemmProblem problem, KernelPool? pool)
    {
        SimdLevel level = SimdPath.Current;
        int parts = Parts(in problem, pool);
        if (parts <= 1) One(in problem, level);
        else pool!.Run(parts, new Body { Problem = problem, Level = level, Parts = parts, ByColumns = problem.N >= problem.M });
    }

    /// <summary>Runs products that differ by where their operands and results are.</summary>
    public static void RunBatch(in GemmProblem problem, nint count, nint nextA, nint nextB, nint nextC, KernelPool? pool)
    {
        var batch = new Batch { Problem = problem, Level = SimdPath.Current, Count = count, NextA = nextA, NextB = nextB, NextC = nextC, Parts = 1 };
        double work = (double)problem.M * problem.N * Math.Max(problem.K, 1) * count;
        if (pool is not null) batch.Parts = (int)Math.Min(Math.Min(pool.Threads, count), 1 + (work / GrainWork));
        if (batch.Parts <= 1) batch.Run(0);
        else pool!.Run(batch.Parts, batch);
    }

    /// <summary>How deep the blocks of a product over <paramref name="k"/> are.</summary>
    public static nint DepthOf(nint k) => Even(k, BlockK);

    /// <summary>Runs a problem on the caller, the way that suits its shape.</summary>
    private static void One(in GemmProblem p, SimdLevel level)
    {
        if (p.Panels == null && !p.Finish.ReadsC)
        {
            if (p.ColumnB == 1)
            {
                if (p.M <= RowStream.MaxRows && p.K * p.N > InPlaceElements)
                {
                    RowStream.Run(in p, level);
                    return;
                }
                if (!PaysPackingA(p) && !PaysPackingB(p))
                {
                    Direct(in p, level);
                    return;
                }
            }
            else if (p.M <= TransposedTile.MaxRows && p.StepA == 1)
            {
                nint whole = p.N & ~15;
                if (whole > 0) TransposedTile.Run(whole == p.N ? p : p.Part(0, p.M, 0, whole), level);
                if (whole < p.N) Dispatch(p.Part(0, p.M, whole, p.N - whole), level);
                return;
            }
        }
        Dispatch(in p, level);
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
                if (finish) p.Finish.Run<T>(t.To, p.StrideC, t.To, p.StrideC, height, columns, p.M - left, j);
                t.A += height * p.RowA;
                t.To += height * p.StrideC;
            }
        }
    }

    private static void Dispatch(in GemmProblem problem, SimdLevel level)
    {
        // With beta the old C is needed at the end, so sums wait elsewhere, in a space that is kept small.
        nint rows = problem.Finish.ReadsC && problem.K > (problem.Cuts.K > 0 ? problem.Cuts.K : BlockK) ? BlockRowsApart : problem.M;
        for (nint i = 0; i < problem.M; i += rows)
        {
            GemmProblem part = rows == problem.M ? problem : problem.Part(i, Math.Min(rows, problem.M - i), 0, problem.N);
            switch (level)
            {
                case SimdLevel.Vector512: Blocks<Lanes512>(in part); break;
                case SimdLevel.Vector256: Blocks<Lanes256>(in part); break;
                case SimdLevel.Vector128: Blocks<Lanes128>(in part); break;
                default: Blocks<LanesScalar>(in part); break;
            }
        }
    }

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Blocks<T>(in GemmProblem p)
        where T : struct, ILanes<T>
    {
        nint width = TileDispatch.Width<T>();
        nint paddedN = (p.N + width - 1) / width * width;
        bool packed = p.Panels != null;
        bool low = T.TileRows >= 12 && p.Cuts.M == 0 && StaysNear(p);
        bool packA = !low && PaysPackingA(p);
        bool packB = !packed && PaysPackingB(p);
        bool streamsB = !packed && !packB && p.M <= T.TileRows && p.K * p.N > InPlaceElements;
        nint mostK = p.Cuts.K > 0 ? p.Cuts.K : BlockK;
        nint mostM = p.Cuts.M > 0 ? p.Cuts.M : low ? BlockMInPlace : BlockM;
        nint blockK = Even(p.K, streamsB ? BlockKInPlace : mostK);
        nint blockM = packA || low ? Even(p.M, mostM, 12) : p.M;
        nint mostN = p.Cuts.N > 0 ? p.Cuts.N : p.M > mostM ? BlockN : Math.Max(BlockElementsOnce / Math.Max(blockK, 1), width);
        nint blockN = packed || packB ? Even(paddedN, mostN, (int)width) : paddedN;
        bool apart = p.Finish.ReadsC && blockK < p.K;
        nint sizeA = packA ? ((blockM * blockK) + Packing.Slack + 15) & ~15 : 0;
        nint sizeB = packB ? blockK * blockN : 0;
        nint sizeSums = apart ? p.M * blockN : 0;
        bool inPlace = !packA && !packB && !p.Finish.ReadsC;
        float* panelA = inPlace ? null : Workspace.Get(sizeA + sizeB + sizeSums + TileArguments.TileSize);
        float* panelB = panelA + sizeA;
        float* sums = panelB + sizeB;
        float* scratch = sums + sizeSums;

        for (nint j = 0; j < p.N; j += blockN)
        {
            nint columns = Math.Min(blockN, p.N - j);
            nint k = 0;
            do
            {
                nint depth = Math.Min(blockK, p.K - k);
                float* b = packed ? p.Panels + (k * p.PanelWidth) + ((p.PanelColumn + j) * depth) : p.B + (j * p.ColumnB) + (k * p.StepB);
                if (packB) Packing.PackB<T>(b, p.ColumnB, p.StepB, depth, columns, panelB);
                for (nint i = 0; i < p.M; i += blockM)
                {
                    nint rows = Math.Min(blockM, p.M - i);
                    float* a = p.A + (i * p.RowA) + (k * p.StepA);
                    if (packA) Packing.PackA<T>(a, p.RowA, p.StepA, rows, depth, panelA);
                    float* c = p.C + (i * p.StrideC) + j;
                    var block = new GemmBlock
                    {
                        A = packA ? panelA : a,
                        RowA = packA ? 1 : p.RowA,
                        StepA = packA ? 0 : p.StepA,
                        B = packB ? panelB : b,
                        StepB = packed || packB ? 0 : p.StepB,
                        Streams = streamsB,
                        Rows = rows,
                        Columns = columns,
                        Depth = depth,
                        First = k == 0,
                        Last = k + depth == p.K,
                        C = c,
                        StrideC = p.StrideC,
                        Sums = apart ? sums + (i * blockN) : c,
                        StrideSums = apart ? blockN : p.StrideC,
                        Finish = p.Finish.From(i, j),
                        Scratch = p.Finish.ReadsC && !apart ? scratch : null,
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

    private static bool StaysNear(in GemmProblem p) => p.StepA == 1 && p.M >= NearRows && p.K <= NearSide && p.N <= NearSide && !p.Finish.ReadsC;

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
            One(ByColumns ? Problem.Part(0, Problem.M, begin, size) : Problem.Part(begin, size, 0, Problem.N), Level);
        }
    }

    private struct Batch : IParallelBody
    {
        public GemmProblem Problem;
        public SimdLevel Level;
        public nint Count;
        public nint NextA;
        public nint NextB;
        public nint NextC;
        public int Parts;

        public readonly void Run(int part)
        {
            GemmProblem one = Problem;
            for (nint i = Count * part / Parts; i < Count * (part + 1) / Parts; i++)
            {
                one.A = Problem.A + (i * NextA);
                one.B = Problem.B + (i * NextB);
                one.C = Problem.C + (i * NextC);
                One(in one, Level);
            }
        }
    }
}
