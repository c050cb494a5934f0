using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

/// <summary>Where a product is cut into blocks never shows in its bits.</summary>
public unsafe class BlockingTests
{
    public static TheoryData<int, int, int> Cuts => new()
    {
        { 1, 1, 1 }, { 12, 32, 2 }, { 13, 33, 3 }, { 24, 16, 7 }, { 50, 100, 31 }, { 192, 1, 64 }, { 1, 1024, 65 }, { 36, 64, 100 }, { 1000, 1000, 1000 },
    };

    [Theory]
    [MemberData(nameof(Cuts))]
    public void Multiply_CutAnyhow_EqualsReference(int mostM, int mostN, int mostK)
    {
        const int M = 205, N = 211, K = 131;
        using var a = Filled(M * K, 1);
        using var b = Filled(K * N, 2);
        using var bias = Filled(N, 3);
        using var c = Filled(M * N, 4);
        float[] start = c.Span.ToArray();
        using var pool = new KernelPool(3);
        foreach (float beta in (float[])[0, 0.25f])
        {
            float[] expected = [.. start];
            fixed (float* e = expected)
                ReferenceGemm.Multiply(false, true, M, N, K, 0.5f, a.Pointer, K, b.Pointer, K, beta, e, N, bias.Pointer, Activation.Tanh);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                var problem = new GemmProblem
                {
                    M = M,
                    N = N,
                    K = K,
                    A = a.Pointer,
                    RowA = K,
                    StepA = 1,
                    B = b.Pointer,
                    ColumnB = K,
                    StepB = 1,
                    C = c.Pointer,
                    StrideC = N,
                    Finish = new TileFinish { Alpha = 0.5f, Beta = beta, Bias = bias.Pointer, Activation = Activation.Tanh },
                    Cuts = new(mostM, mostN, mostK),
                };
                foreach (KernelPool? threads in (KernelPool?[])[null, pool])
                {
                    start.CopyTo(c.Span);
                    GemmDriver.Run(in problem, threads);
                    TestData.AssertSameBits(expected, c.Span, $"blocks of {mostM}x{mostN}x{mostK} at {level}, beta {beta}");
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cuts))]
    public void WeightGradient_CutAnyhow_EqualsReference(int mostM, int mostN, int mostK)
    {
        const int Outputs = 45, Inputs = 75;
        var (ranges, starts, rows) = LeafLists.Parse("100+57 0 131 99+3 120");
        using var y = Filled(rows * Outputs, 1);
        using var x = Filled(rows * Inputs, 2);
        using var w = new BoundedMemory(Outputs * Inputs);
        float[] expected = new float[w.Length];
        fixed (float* e = expected) ReferenceGemm.WeightGradient(y.Pointer, Outputs, x.Pointer, Inputs, Outputs, Inputs, ranges, starts, e, Inputs);
        using var pool = new KernelPool(3);
        fixed (KRange* r = ranges)
        fixed (int* l = starts)
        {
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                var problem = new SegmentedProblem
                {
                    DY = y.Pointer,
                    StrideDY = Outputs,
                    X = x.Pointer,
                    StrideX = Inputs,
                    Outputs = Outputs,
                    Inputs = Inputs,
                    Ranges = r,
                    LeafStarts = l,
                    Leaves = starts.Length - 1,
                    DW = w.Pointer,
                    StrideDW = Inputs,
                    Cuts = new(mostM, mostN, mostK),
                };
                foreach (KernelPool? threads in (KernelPool?[])[null, pool])
                {
                    w.Span.Clear();
                    SegmentedDriver.Run(problem, threads);
                    TestData.AssertSameBits(expected, w.Span, $"blocks of {mostM}x{mostN}x{mostK} at {level}");
                }
            }
        }
    }

    private static BoundedMemory Filled(int length, int seed)
    {
        var memory = new BoundedMemory(length);
        TestData.Fill(memory.Span, seed);
        return memory;
    }
}
