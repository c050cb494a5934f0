using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class GemmTests
{
    private static readonly (int M, int N, int K)[] Shapes =
    [
        (1, 1, 1), (1, 10, 64), (3, 2, 5), (12, 32, 7), (13, 33, 17), (11, 31, 16), (25, 65, 3), (7, 16, 40), (8, 15, 1), (1, 100, 37),
        (100, 1, 37), (5, 47, 0), (33, 10, 128), (64, 64, 64), (29, 130, 401), (130, 29, 801), (2, 3, 1200), (16, 17, 18), (24, 48, 96),
        (8, 200, 70), (200, 40, 70), (9, 300, 260), (70, 100, 700),
        (1, 700, 131), (2, 1030, 70), (3, 530, 150), (4, 600, 121),
    ];

    public static TheoryData<bool, bool> Forms => new() { { false, false }, { false, true }, { true, false }, { true, true } };

    [Theory]
    [MemberData(nameof(Forms))]
    public void Multiply_AwkwardShapesAllLevelsAndThreads_EqualsReference(bool transA, bool transB)
    {
        using var pool2 = new KernelPool(2);
        using var pool4 = new KernelPool(4);
        foreach (var (m, n, k) in Shapes)
        {
            foreach (bool plain in (bool[])[true, false])
            {
                using var problem = new Problem(transA, transB, m, n, k, plain);
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    problem.Check(null, $"{m}x{n}x{k} at {level}");
                    problem.Check(pool2, $"{m}x{n}x{k} at {level} on 2 threads");
                    problem.Check(pool4, $"{m}x{n}x{k} at {level} on 4 threads");
                }
            }
        }
    }

    [Fact]
    public void Multiply_SmallShapes_AllEqualReference()
    {
        for (int m = 1; m <= 14; m++)
        {
            for (int n = 1; n <= 35; n += n < 15 ? 7 : 1)
            {
                using var problem = new Problem(m % 2 == 0, n % 2 == 0, m, n, 9, plain: true);
                problem.Check(null, $"{m}x{n}x9");
            }
        }
    }

    [Fact]
    public void Multiply_LargerThanTheBlocks_EqualsReference()
    {
        using var problem = new Problem(false, false, 200, 1100, 1000, plain: true);
        problem.Check(null, "200x1100x1000");
        using var transposed = new Problem(true, true, 200, 300, 1000, plain: false);
        transposed.Check(null, "200x300x1000, with an epilogue");
    }

    [Theory]
    [InlineData(1024, 64, 40)]
    [InlineData(1031, 133, 70)]
    public void Multiply_ManyRowsReadInPlace_EqualsReference(int m, int n, int k)
    {
        using var normal = new Problem(false, false, m, n, k, plain: false);
        normal.Check(null, $"{m}x{n}x{k}");
        using var transposed = new Problem(false, true, m, n, k, plain: true);
        transposed.Check(null, $"{m}x{n}x{k}, B transposed");
    }

    [Fact]
    public void Multiply_EveryActivation_EqualsReference()
    {
        foreach (Activation activation in Enum.GetValues<Activation>())
        {
            using var problem = new Problem(false, true, 21, 37, 30, plain: false) { Activation = activation };
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                problem.Check(null, $"{activation} at {level}");
            }
        }
    }

    [Theory]
    [InlineData(5, 7, 9)]
    [InlineData(33, 45, 20)]
    [InlineData(12, 32, 16)]
    [InlineData(130, 210, 40)]
    public void Multiply_BackThroughAnActivation_EqualsProductThenActivateBackward(int m, int n, int k)
    {
        float[] a = TestData.Random(m * k, 1), b = TestData.Random(k * n, 2), y = TestData.Random(m * (n + 3), 3);
        float[] product = new float[m * n], expected = new float[m * n], fused = new float[m * n], outputs = new float[m * n];
        foreach (Activation activation in (Activation[])[Activation.Relu, Activation.Sigmoid, Activation.Tanh])
        {
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                fixed (float* pa = a, pb = b, py = y, pp = product, pe = expected, pf = fused, po = outputs)
                {
                    for (int i = 0; i < m; i++) new Span<float>(py + (i * (n + 3)), n).CopyTo(new Span<float>(po + (i * n), n));
                    Gemm.Multiply(MatrixForm.Normal, MatrixForm.Normal, m, n, k, 1, pa, k, pb, n, 0, pp, n);
                    Elementwise.ActivateBackward(activation, pp, po, pe, m * n);
                    Gemm.Multiply(MatrixForm.Normal, MatrixForm.Normal, m, n, k, 1, pa, k, pb, n, 0, pf, n, GemmEpilogue.Backward(activation, py, n + 3));
                }
                TestData.AssertSameBits(expected, fused, $"{activation} at {level}");
            }
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void MultiplyBatch_ApartAndInterleaved_EqualsOneByOne(int threads)
    {
        const int Heads = 5, M = 19, N = 8, K = 33;
        using var pool = new KernelPool(threads);
        // Heads side by side within a row, as attention has them, and one after the other.
        foreach ((int lda, int nextA, int ldc, int nextC) in ((int, int, int, int)[])[(Heads * K, K, Heads * N, N), (K, M * K, N, M * N)])
        {
            float[] a = TestData.Random(Heads * M * K, 1), b = TestData.Random(Heads * N * K, 2), one = TestData.Random(Heads * M * N, 3);
            float[] batch = [.. one];
            fixed (float* pa = a, pb = b, po = one, pc = batch)
            {
                for (int h = 0; h < Heads; h++)
                    Gemm.Multiply(MatrixForm.Normal, MatrixForm.Transposed, M, N, K, 0.3f, pa + (h * nextA), lda, pb + (h * N * K), K, 0.5f, po + (h * nextC), ldc);
                Gemm.MultiplyBatch(Heads, MatrixForm.Normal, MatrixForm.Transposed, M, N, K, 0.3f, pa, lda, nextA, pb, K, N * K, 0.5f, pc, ldc, nextC, default, pool);
            }
            TestData.AssertSameBits(one, batch, $"heads {nextC} floats apart");
        }
    }

    [Fact]
    public void MultiplyBatch_OverlappingResults_Throws()
    {
        using var x = new NativeBuffer(1000);
        float* p = x.Pointer;
        Assert.Throws<ArgumentException>(() => Gemm.MultiplyBatch(2, MatrixForm.Normal, MatrixForm.Normal, 4, 4, 4, 1, p, 4, 16, p + 100, 4, 16, 0, p + 200, 4, 8));
        Assert.Throws<ArgumentException>(() => Gemm.MultiplyBatch(2, MatrixForm.Normal, MatrixForm.Normal, 4, 4, 4, 1, p, 4, 100, p + 300, 4, 16, 0, p + 104, 4, 16));
    }

    [Fact]
    public void PackedMatrix_NotPackedOrForAnotherPath_IsRefused()
    {
        using var packed = new PackedMatrix(4, 4);
        using var x = new NativeBuffer(100);
        float* p = x.Pointer;
        Assert.Throws<InvalidOperationException>(() => Gemm.Multiply(MatrixForm.Normal, 4, 1, p, 4, packed, 0, p + 50, 4));
        using (SimdPath.Force(SimdLevel.Scalar)) packed.Pack(MatrixForm.Normal, p + 20, 4);
        using var forced = SimdPath.Force(SimdLevel.Vector128);
        Assert.Throws<InvalidOperationException>(() => Gemm.Multiply(MatrixForm.Normal, 4, 1, p, 4, packed, 0, p + 50, 4));
    }

    [Fact]
    public void Multiply_RowsInParts_GiveTheSameBits()
    {
        const int M = 37, N = 45, K = 50;
        float[] a = TestData.Random(M * K, 1), b = TestData.Random(K * N, 2), whole = new float[M * N], parts = new float[M * N];
        fixed (float* pa = a, pb = b, pw = whole, pp = parts)
        {
            Gemm.Multiply(MatrixForm.Normal, MatrixForm.Normal, M, N, K, 1, pa, K, pb, N, 0, pw, N);
            foreach ((int begin, int end) in ((int, int)[])[(0, 1), (1, 9), (9, 37)])
                Gemm.Multiply(MatrixForm.Normal, MatrixForm.Normal, end - begin, N, K, 1, pa + (begin * K), K, pb, N, 0, pp + (begin * N), N);
        }
        TestData.AssertSameBits(whole, parts, "a batch in parts");
    }

    [Fact]
    public void Multiply_NaNAndInfinity_Travel()
    {
        float[] a = [1, float.PositiveInfinity, 2, float.NaN], b = [1, 0, 0, 1], c = [float.NaN, 0, 0, 0];
        fixed (float* pa = a, pb = b, pc = c) Gemm.Multiply(MatrixForm.Normal, MatrixForm.Normal, 2, 2, 2, 1, pa, 2, pb, 2, 0, pc, 2);
        TestData.AssertSameBits([float.NaN, float.PositiveInfinity, float.NaN, float.NaN], c, "NaN and infinity");
    }

    [Fact]
    public void Multiply_BadShapes_Throw()
    {
        using var x = new NativeBuffer(100);
        float* p = x.Pointer;
        Assert.Throws<ArgumentOutOfRangeException>(() => Gemm.Multiply(MatrixForm.Normal, MatrixForm.Normal, 2, 2, 3, 1, p, 2, p + 20, 2, 0, p + 40, 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => Gemm.Multiply(MatrixForm.Normal, MatrixForm.Normal, -1, 2, 3, 1, p, 3, p + 20, 2, 0, p + 40, 2));
        Assert.Throws<ArgumentException>(() => Gemm.Multiply(MatrixForm.Normal, MatrixForm.Normal, 2, 2, 3, 1, p, 3, p + 20, 2, 0, p + 4, 2));
        Assert.Throws<ArgumentNullException>(() => Gemm.Multiply(MatrixForm.Normal, MatrixForm.Normal, 2, 2, 3, 1, null, 3, p + 20, 2, 0, p + 40, 2));
    }

    [Fact]
    public void Backward_WithoutOutputs_Throws() => Assert.Throws<ArgumentNullException>(() => GemmEpilogue.Backward(Activation.Relu, null, 4));

    [Fact]
    public void Multiply_SteadyState_AllocatesNothing()
    {
        using var pool = new KernelPool(2);
        using var problem = new Problem(false, true, 64, 96, 200, plain: true);
        for (int i = 0; i < 50; i++) problem.Run(pool);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 50; i++) problem.Run(pool);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    /// <summary>Operands that end at an inaccessible page, with strides wider than their rows.</summary>
    private sealed class Problem : IDisposable
    {
        private readonly bool _transA, _transB, _plain;
        private readonly int _m, _n, _k, _lda, _ldb, _ldc;
        private readonly BoundedMemory _a, _b, _c, _bias;
        private readonly float[] _start;

        public Problem(bool transA, bool transB, int m, int n, int k, bool plain)
        {
            (_transA, _transB, _m, _n, _k, _plain) = (transA, transB, m, n, k, plain);
            int pad = plain ? 0 : 3;
            _lda = (transA ? m : k) + pad;
            _ldb = (transB ? k : n) + pad;
            _ldc = n + pad;
            _a = Matrix(transA ? k : m, transA ? m : k, _lda, 1);
            _b = Matrix(transB ? n : k, transB ? k : n, _ldb, 2);
            _c = Matrix(m, n, _ldc, 3);
            _bias = Matrix(1, n, n, 4);
            _start = _c.Span.ToArray();
        }

        public Activation Activation { get; init; } = Activation.Relu;

        public void Run(KernelPool? pool)
        {
            if (_plain)
            {
                Gemm.Multiply(
                    Form(_transA), Form(_transB), _m, _n, _k, 1, _a.Pointer, _lda, _b.Pointer, _ldb, 0, _c.Pointer, _ldc, default, pool);
            }
            else
            {
                Gemm.Multiply(
                    Form(_transA), Form(_transB), _m, _n, _k, 0.5f, _a.Pointer, _lda, _b.Pointer, _ldb, 0.25f, _c.Pointer, _ldc,
                    new GemmEpilogue(_bias.Pointer, Activation), pool);
            }
        }

        public void Check(KernelPool? pool, string what)
        {
            float[] expected = [.. _start];
            fixed (float* c = expected)
            {
                ReferenceGemm.Multiply(
                    _transA, _transB, _m, _n, _k, _plain ? 1 : 0.5f, _a.Pointer, _lda, _b.Pointer, _ldb, _plain ? 0 : 0.25f, c, _ldc,
                    _plain ? null : _bias.Pointer, _plain ? Activation.Identity : Activation);
            }
            _start.CopyTo(_c.Span);
            Run(pool);
            TestData.AssertSameBits(expected, _c.Span, what);
            if (pool is { Threads: > 2 }) return;
            _start.CopyTo(_c.Span);
            RunPacked(pool);
            TestData.AssertSameBits(expected, _c.Span, $"{what}, packed beforehand");
        }

        private void RunPacked(KernelPool? pool)
        {
            using var packed = new PackedMatrix(_k, _n);
            packed.Pack(Form(_transB), _b.Pointer, _ldb);
            var epilogue = _plain ? default : new GemmEpilogue(_bias.Pointer, Activation);
            Gemm.Multiply(Form(_transA), _m, _plain ? 1 : 0.5f, _a.Pointer, _lda, packed, _plain ? 0 : 0.25f, _c.Pointer, _ldc, epilogue, pool);
        }

        public void Dispose()
        {
            _a.Dispose();
            _b.Dispose();
            _c.Dispose();
            _bias.Dispose();
        }

        private static MatrixForm Form(bool transposed) => transposed ? MatrixForm.Transposed : MatrixForm.Normal;

        private static BoundedMemory Matrix(int rows, int columns, int stride, int seed)
        {
            var memory = new BoundedMemory(rows == 0 || columns == 0 ? 0 : ((rows - 1) * stride) + columns);
            TestData.Fill(memory.Span, seed);
            return memory;
        }
    }
}
