namespace DistTrain.Kernels;

/// <summary>A weight gradient over leaves, as <see cref="SegmentedGemm.WeightGradient"/> describes it.</summary>
internal unsafe struct SegmentedProblem
{
    public float* DY;
    public nint StrideDY;
    public float* X;
    public nint StrideX;
    public nint Outputs;
    public nint Inputs;
    public KRange* Ranges;
    public int* LeafStarts;
    public int Leaves;
    public float* DW;
    public nint StrideDW;
}

/// <summary>Runs segmented weight gradients tile by tile; a tile's pending tree nodes wait on a stack in the L1 cache.</summary>
internal static unsafe class SegmentedDriver
{
    // A stack of pending nodes holds complete subtrees of falling size: one for each bit of the number of leaves.
    private const int StackDepth = 32;

    private const double GrainWork = 256 * 1024;

    public static void Run(SegmentedProblem problem, KernelPool? pool)
    {
        long depth = 0;
        for (int i = 0; i < problem.LeafStarts[problem.Leaves]; i++) depth += problem.Ranges[i].Count;
        double work = (double)problem.Outputs * problem.Inputs * Math.Max(depth, 1);
        var body = new Body { Problem = problem, Level = SimdPath.Current };
        body.Parts = pool is null ? 1 : (int)Math.Min(pool.Threads, 1 + (work / GrainWork));
        body.ByColumns = problem.Inputs >= problem.Outputs;
        if (body.Parts <= 1) body.Run(0);
        else pool!.Run(body.Parts, body);
    }

    private static void Tiles<T>(in SegmentedProblem p, nint rowBegin, nint rowEnd, nint columnBegin, nint columnEnd)
        where T : struct, ILanes<T>
    {
        int width = TileDispatch.Width<T>();
        float* stack = Workspace.Get((StackDepth + 1) * TileArguments.TileSize);
        for (nint j = columnBegin; j < columnEnd; j += width)
        {
            int columns = (int)Math.Min(width, columnEnd - j);
            for (nint i = rowBegin; i < rowEnd;)
            {
                int height = TileDispatch.Height<T>(rowEnd - i);
                Tile<T>(in p, i, height, j, columns, stack);
                i += height;
            }
        }
    }

    private static void Tile<T>(in SegmentedProblem p, nint i, int height, nint j, int columns, float* stack)
        where T : struct, ILanes<T>
    {
        float* partial = stack + (StackDepth * TileArguments.TileSize);
        int pending = 0;
        TileArguments t = default;
        t.RowStrideA = 1;
        t.StepA = p.StrideDY;
        t.StepB = p.StrideX;
        for (int leaf = 0; leaf < p.Leaves; leaf++)
        {
            int range = p.LeafStarts[leaf];
            int end = p.LeafStarts[leaf + 1];
            t.From = null;
            t.JoinCount = 0;
            t.To = partial;
            t.ToStride = 32;
            for (; range < end - 1; range++)
            {
                Aim(ref t, in p, p.Ranges[range], i, j);
                TileDispatch.Run<T>(ref t, height, columns, unitRows: true);
                t.From = partial;
                t.FromStride = 32;
            }
            Aim(ref t, in p, range < end ? p.Ranges[range] : default, i, j);
            int joins = SegmentedGemm.Joins(leaf, p.Leaves, pending);
            t.JoinCount = joins;
            t.Joins = stack + ((pending - 1) * TileArguments.TileSize);
            pending -= joins;
            bool last = leaf == p.Leaves - 1;
            t.To = last ? p.DW + (i * p.StrideDW) + j : stack + (pending * TileArguments.TileSize);
            t.ToStride = last ? p.StrideDW : 32;
            pending++;
            TileDispatch.Run<T>(ref t, height, columns, unitRows: true);
        }
    }

    private static void Aim(ref TileArguments t, in SegmentedProblem p, KRange range, nint i, nint j)
    {
        t.A = p.DY + (range.Start * p.StrideDY) + i;
        t.B = p.X + (range.Start * p.StrideX) + j;
        t.Depth = range.Count;
    }

    private struct Body : IParallelBody
    {
        public SegmentedProblem Problem;
        public SimdLevel Level;
        public int Parts;
        public bool ByColumns;

        public readonly void Run(int part)
        {
            nint rowBegin = 0;
            nint rowEnd = Problem.Outputs;
            nint columnBegin = 0;
            nint columnEnd = Problem.Inputs;
            if (ByColumns)
            {
                columnBegin = RangeRunner.Cut(Problem.Inputs, 32, Parts, part);
                columnEnd = RangeRunner.Cut(Problem.Inputs, 32, Parts, part + 1);
            }
            else
            {
                rowBegin = RangeRunner.Cut(Problem.Outputs, 12, Parts, part);
                rowEnd = RangeRunner.Cut(Problem.Outputs, 12, Parts, part + 1);
            }
            switch (Level)
            {
                case SimdLevel.Vector512: Tiles<Lanes512>(in Problem, rowBegin, rowEnd, columnBegin, columnEnd); break;
                case SimdLevel.Vector256: Tiles<Lanes256>(in Problem, rowBegin, rowEnd, columnBegin, columnEnd); break;
                case SimdLevel.Vector128: Tiles<Lanes128>(in Problem, rowBegin, rowEnd, columnBegin, columnEnd); break;
                default: Tiles<LanesScalar>(in Problem, rowBegin, rowEnd, columnBegin, columnEnd); break;
            }
        }
    }
}
