namespace DistTrain.Kernels;

/// <summary>
/// Cuts a GEMM into blocks that fit the caches and into tiles that fit the registers. The cuts over k keep each
/// element's partial sum exactly, in C itself, so they never show in the bits.
/// </summary>
internal static unsafe class GemmDriver
{
    private const int BlockK = 384;
    private const int BlockM = 96;
    private const int BlockN = 1024;

    // Multiplications that a thread should have at least.
    private const double GrainWork = 256 * 1024;

    public static void Run(GemmProblem problem, KernelPool? pool)
    {
        SimdLevel level = SimdPath.Current;
        double work = (double)problem.M * problem.N * Math.Max(problem.K, 1);
        int parts = pool is null ? 1 : (int)Math.Min(pool.Threads, 1 + (work / GrainWork));
        if (parts <= 1)
        {
            Dispatch(problem, level);
            return;
        }
        pool!.Run(parts, new Body { Problem = problem, Level = level, Parts = parts, ByColumns = problem.N >= problem.M });
    }

    private static void Dispatch(in GemmProblem problem, SimdLevel level)
    {
        switch (level)
        {
            case SimdLevel.Vector512: Blocks<Lanes512>(problem); break;
            case SimdLevel.Vector256: Blocks<Lanes256>(problem); break;
            case SimdLevel.Vector128: Blocks<Lanes128>(problem); break;
            default: Blocks<LanesScalar>(problem); break;
        }
    }

    private static void Blocks<T>(GemmProblem p)
        where T : struct, ILanes<T>
    {
        nint width = TileDispatch.Width<T>();
        nint blockK = p.Finish.ReadsC ? Math.Max(p.K, 1) : Math.Min(BlockK, Math.Max(p.K, 1));
        nint blockM = Math.Min(BlockM, p.M);
        nint blockN = Math.Min(BlockN, (p.N + width - 1) / width * width);
        float* panelA = Workspace.Get((blockM * blockK) + (blockK * blockN) + TileArguments.TileSize);
        float* scratch = panelA + (blockM * blockK);
        float* panelB = scratch + TileArguments.TileSize;
        for (nint j = 0; j < p.N; j += blockN)
        {
            nint columns = Math.Min(blockN, p.N - j);
            nint k = 0;
            do
            {
                nint depth = Math.Min(blockK, p.K - k);
                Packing.PackB<T>(p.B + (j * p.ColumnB) + (k * p.StepB), p.ColumnB, p.StepB, depth, columns, panelB);
                for (nint i = 0; i < p.M; i += blockM)
                {
                    nint rows = Math.Min(blockM, p.M - i);
                    Packing.PackA<T>(p.A + (i * p.RowA) + (k * p.StepA), p.RowA, p.StepA, rows, depth, panelA);
                    Tiles<T>(p.Part(i, rows, j, columns), panelA, panelB, depth, k == 0, k + depth == p.K, scratch);
                }
                k += depth;
            }
            while (k < p.K);
        }
    }

    private static void Tiles<T>(
        GemmProblem p, float* panelA, float* panelB, nint depth, bool first, bool last, float* scratch)
        where T : struct, ILanes<T>
    {
        int width = TileDispatch.Width<T>();
        TileArguments t = default;
        t.RowStrideA = 1;
        t.StepB = width;
        t.Depth = depth;
        bool finish = last && p.Finish.Needed;
        for (nint j = 0; j < p.N; j += width)
        {
            int columns = (int)Math.Min(width, p.N - j);
            for (nint i = 0; i < p.M;)
            {
                int height = TileDispatch.Height<T>(p.M - i);
                float* c = p.C + (i * p.StrideC) + j;
                t.A = panelA + (i * depth);
                t.StepA = height;
                t.B = panelB + (j * depth);
                t.From = first ? null : c;
                t.FromStride = p.StrideC;
                t.To = p.Finish.ReadsC ? scratch : c;
                t.ToStride = p.Finish.ReadsC ? width : p.StrideC;
                TileDispatch.Run<T>(ref t, height, columns, unitRows: true);
                if (finish) p.Finish.Run<T>(t.To, t.ToStride, c, p.StrideC, height, columns, j);
                i += height;
            }
        }
    }

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
