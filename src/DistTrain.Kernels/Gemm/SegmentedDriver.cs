using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

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

    /// <summary>(Outputs, Inputs) in <see cref="Format"/>, rows of <see cref="StrideDW"/> values, instead of <see cref="DW"/>: null for none.</summary>
    public void* RoundedDW;

    /// <summary>Of 16 bits: what nodes are rounded to where there is a <see cref="RoundedDW"/>.</summary>
    public FloatFormat Format;

    /// <summary>(Outputs): receives the column sums of dY; null for none.</summary>
    public float* DB;

    /// <summary>(Leaves): how many rows each leaf has.</summary>
    public nint* Depths;

    /// <summary>How many ranges there are, and how many rows in all of them.</summary>
    public int RangeCount;

    /// <inheritdoc cref="RangeCount"/>
    public nint Depth;

    /// <summary>How rows of dW, its columns and the depth of leaves are cut; default for what suits the caches.</summary>
    public GemmCuts Cuts;
}

/// <summary>Runs segmented weight gradients tile by tile; a tile's pending tree nodes wait on a stack in the L1 cache.</summary>
internal static unsafe class SegmentedDriver
{
    // Floats of a packed block of dY; that of X is four times as large.
    private const int BlockElements = 64 * 1024;

    // Up to so many rows of dY and X in all, dW is written along its rows.
    private const int MostDepthByRows = 128;

    // From so many elements on, dW doesn't stay in the caches: reading what it overwrites is of no use.
    private const long LeastStreamed = 2 * 1024 * 1024;

    private const double GrainWork = 256 * 1024;

    /// <summary>Whether it was done: rounding is for leaves that are joined tile by tile.</summary>
    public static bool Run(SegmentedProblem problem, KernelPool? pool)
    {
        nint* depths = stackalloc nint[problem.Leaves];
        problem.Depths = depths;
        problem.RangeCount = problem.LeafStarts[problem.Leaves];
        problem.Depth = 0;
        for (int leaf = 0; leaf < problem.Leaves; leaf++)
        {
            depths[leaf] = 0;
            for (int r = problem.LeafStarts[leaf]; r < problem.LeafStarts[leaf + 1]; r++) depths[leaf] += problem.Ranges[r].Count;
            problem.Depth += depths[leaf];
        }
        if (problem.RoundedDW != null && SegmentedDeep.Suits(in problem)) return false;
        // Deep leaves don't pass through panels as a whole, which their column sums could be taken from.
        if (problem.DB != null && SegmentedDeep.Suits(in problem))
        {
            SegmentedGemm.SumColumns(in problem, pool);
            problem.DB = null;
        }
        double work = (double)problem.Outputs * problem.Inputs * Math.Max(problem.Depth, 1);
        var body = new Body { Problem = problem, Level = SimdPath.Current };
        body.Parts = pool is null ? 1 : (int)Math.Min(pool.Threads, 1 + (work / GrainWork));
        body.ByColumns = problem.Inputs >= problem.Outputs;
        if (body.Parts <= 1) body.Run(0);
        else pool!.Run(body.Parts, body);
        return true;
    }

    private static void Blocks<T>(in SegmentedProblem p, nint rowBegin, nint rowEnd, nint columnBegin, nint columnEnd)
        where T : struct, ILanes<T>
    {
        if (rowBegin == rowEnd || columnBegin == columnEnd) return;
        if (SegmentedDeep.Suits(in p))
        {
            SegmentedDeep.Run<T>(in p, rowBegin, rowEnd, columnBegin, columnEnd);
            return;
        }
        int width = TileDispatch.Width<T>();
        nint depth = p.Depth;
        nint mostM = p.Cuts.M > 0 ? p.Cuts.M : BlockElements / Math.Max(depth, 1);
        nint mostN = p.Cuts.N > 0 ? p.Cuts.N : 4 * BlockElements / Math.Max(depth, 1);
        nint blockM = Math.Min(rowEnd - rowBegin, Math.Max(mostM / 12, 1) * 12);
        nint blockN = Math.Min(columnEnd - columnBegin, Math.Max(mostN / width, 1) * width);
        nint sizeB = ((blockN + width - 1) / width * width * depth) + Packing.Slack;
        nint sizeA = (((blockM * depth) + 15) & ~15) + Packing.Slack;
        float* stack = Workspace.Get((LeafTree.StackDepth * TileArguments.TileSize) + sizeA + sizeB);
        float* panelA = stack + (LeafTree.StackDepth * TileArguments.TileSize);
        float* panelB = panelA + sizeA;
        TileArguments t = default;
        t.Depths = p.Depths;
        t.Leaves = p.Leaves;
        t.Stack = stack;
        t.ToStride = p.StrideDW;
        bool pairs = typeof(T) == typeof(Lanes512) && LeafPairTile512.Suits(p.Depths, p.Leaves);
        t.Streams = pairs && (long)p.Outputs * p.Inputs >= LeastStreamed && (((nint)p.DW | (p.StrideDW * sizeof(float))) & 63) == 0;
        for (nint j = columnBegin; j < columnEnd; j += blockN)
        {
            nint columns = Math.Min(blockN, columnEnd - j);
            PackX<T>(in p, j, columns, panelB);
            for (nint i = rowBegin; i < rowEnd; i += blockM)
            {
                nint rows = Math.Min(blockM, rowEnd - i);
                PackDY<T>(in p, i, rows, panelA, j == 0 && p.DB != null ? stack : null);
                t.A = panelA;
                t.B = panelB;
                if (p.RoundedDW != null)
                {
                    Rounded<T>(in p, in t, i, rows, j, columns);
                    continue;
                }
                t.To = p.DW + (i * p.StrideDW) + j;
                if (depth <= MostDepthByRows) TilesByRows<T>(t, rows, columns, depth, pairs);
                else TilesByColumns<T>(t, rows, columns, depth, pairs);
            }
        }

        if (t.Streams) Sse.StoreFence();
    }

    /// <summary>A strip of dY at a time: shallow products write as much as they read, and dW likes to be written along its rows.</summary>
    private static void TilesByRows<T>(in TileArguments block, nint rows, nint columns, nint depth, bool pairs)
        where T : struct, ILanes<T>
    {
        TileArguments t = block;
        int width = TileDispatch.Width<T>();
        int height;
        for (nint i = 0; i < rows; i += height)
        {
            height = TileDispatch.Height<T>(rows - i);
            for (nint j = 0; j < columns; j += width)
            {
                t.A = block.A + (i * depth);
                t.B = block.B + (j * depth);
                t.To = block.To + (i * block.ToStride) + j;
                t.Columns = (int)Math.Min(width, columns - j);
                Tile<T>(ref t, height, pairs);
            }
        }
    }

    /// <summary>A strip of X at a time, which stays in the L1 cache while the smaller strips of dY pass.</summary>
    private static void TilesByColumns<T>(in TileArguments block, nint rows, nint columns, nint depth, bool pairs)
        where T : struct, ILanes<T>
    {
        TileArguments t = block;
        int width = TileDispatch.Width<T>();
        for (nint j = 0; j < columns; j += width)
        {
            t.Columns = (int)Math.Min(width, columns - j);
            int height;
            for (nint i = 0; i < rows; i += height)
            {
                height = TileDispatch.Height<T>(rows - i);
                t.A = block.A + (i * depth);
                t.B = block.B + (j * depth);
                t.To = block.To + (i * block.ToStride) + j;
                Tile<T>(ref t, height, pairs);
            }
        }
    }

    private static void Rounded<T>(in SegmentedProblem p, in TileArguments block, nint row, nint rows, nint column, nint columns)
        where T : struct, ILanes<T>
    {
        void* to = (byte*)p.RoundedDW + (((row * p.StrideDW) + column) * p.Format.Size());
        if (p.Format == FloatFormat.BFloat16) RoundedTiles<T, BFloat16Format>.Run(in block, rows, columns, p.Depth, to, p.StrideDW);
        else RoundedTiles<T, Float16Format>.Run(in block, rows, columns, p.Depth, to, p.StrideDW);
    }

    private static void Tile<T>(ref TileArguments t, int height, bool pairs)
        where T : struct, ILanes<T>
    {
        if (pairs && height == 2 * LeafPairTile512.Rows && t.Columns == LeafPairTile512.Columns)
        {
            LeafPairTile512.Run(ref t);
            t.A += LeafPairTile512.Rows;
            t.To += LeafPairTile512.Rows * t.ToStride;
            LeafPairTile512.Run(ref t);
        }
        else
        {
            TileDispatch.Select<T>(height, t.Columns, TileWalk.Packed)(ref t);
        }
    }

    /// <summary>Packs columns of X, its rows in the order of the leaves: ranges become one run.</summary>
    private static void PackX<T>(in SegmentedProblem p, nint column, nint columns, float* panel)
        where T : struct, ILanes<T>
    {
        int width = TileDispatch.Width<T>();
        for (nint j = 0; j < columns; j += width)
        {
            int real = (int)Math.Min(width, columns - j);
            int strip = TileDispatch.StripWidth<T>(real);
            for (int r = 0; r < p.RangeCount; r++)
            {
                nint count = p.Ranges[r].Count;
                Packing.CopyColumns<T>(p.X + (p.Ranges[r].Start * p.StrideX) + column + j, p.StrideX, count, real, strip, panel);
                panel += count * strip;
            }
        }
    }

    /// <summary>Packs columns of dY, the rows of dW; with a stack it sums them too, strip by strip while they are in the L1 cache.</summary>
    private static void PackDY<T>(in SegmentedProblem p, nint row, nint rows, float* panel, float* stack)
        where T : struct, ILanes<T>
    {
        for (nint i = 0; i < rows;)
        {
            int height = TileDispatch.Height<T>(rows - i);
            float* strip = panel;
            for (int r = 0; r < p.RangeCount; r++)
            {
                nint count = p.Ranges[r].Count;
                Packing.CopyStrip<T>(p.DY + (p.Ranges[r].Start * p.StrideDY) + row + i, p.StrideDY, height, count, panel);
                panel += count * height;
            }
            if (stack != null) SumStrip<T>(strip, height, p.Depths, p.Leaves, stack, p.DB + row + i);
            i += height;
        }
    }

    /// <summary>Sums the rows of a packed strip leaf by leaf and along the tree, as <see cref="ColumnSumKernel"/> does.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SumStrip<T>(float* strip, int height, nint* depths, int leaves, float* stack, float* sums)
        where T : struct, ILanes<T>
    {
        int pending = 0;
        for (int leaf = 0; leaf < leaves; leaf++)
        {
            T sum = T.Zero;
            for (nint k = depths[leaf]; k > 0; k--, strip += height) sum += T.LoadPartial(strip, height);
            for (int joins = LeafTree.Joins(leaf, leaf == leaves - 1, pending); joins > 0; joins--)
            {
                pending--;
                sum = T.Load(stack + (pending * 16)) + sum;
            }
            T.Store(stack + (pending * 16), sum);
            pending++;
        }
        T.StorePartial(sums, T.Load(stack), height);
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
                case SimdLevel.Vector512: Blocks<Lanes512>(in Problem, rowBegin, rowEnd, columnBegin, columnEnd); break;
                case SimdLevel.Vector256: Blocks<Lanes256>(in Problem, rowBegin, rowEnd, columnBegin, columnEnd); break;
                case SimdLevel.Vector128: Blocks<Lanes128>(in Problem, rowBegin, rowEnd, columnBegin, columnEnd); break;
                default: Blocks<LanesScalar>(in Problem, rowBegin, rowEnd, columnBegin, columnEnd); break;
            }
        }
    }
}
