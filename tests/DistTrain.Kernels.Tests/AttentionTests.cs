using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class AttentionTests
{
    // Batch, heads, queries, keys, width, causal, offset, with lengths.
    public static TheoryData<int, int, int, int, int, bool, int, bool> Cases => new()
    {
        { 1, 1, 1, 1, 1, false, 0, false }, { 2, 2, 64, 64, 32, false, 0, false }, { 1, 2, 64, 64, 8, true, 0, false },
        { 2, 1, 33, 70, 17, false, 0, true }, { 1, 1, 100, 130, 5, true, 30, false }, { 1, 3, 40, 40, 16, true, -7, true },
        { 1, 1, 300, 290, 20, true, 0, false }, { 1, 1, 7, 200, 65, false, 0, false }, { 1, 2, 129, 31, 48, true, 3, true },
        { 1, 1, 5, 3, 256, false, 0, false }, { 2, 1, 3, 0, 4, false, 0, false },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void ForwardAndBackward_LevelsAndThreads_EqualReference(
        int batch, int heads, int queries, int keys, int width, bool causal, int offset, bool lengths)
    {
        using var problem = new Problem(batch, heads, queries, keys, width, causal, offset, lengths);
        problem.RunReference();
        float[][] expected = problem.Results();
        for (int threads = 1; threads <= 5; threads += 2)
        {
            using var pool = new KernelPool(threads);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                problem.Run(pool);
                float[][] actual = problem.Results();
                for (int i = 0; i < expected.Length; i++)
                    TestData.AssertSameBits(expected[i], actual[i], $"{Problem.Names[i]} at {level} on {threads} threads");
            }
        }
    }

    // Batch, heads, queries, keys, width, causal, offset, with lengths, window, rate.
    public static TheoryData<int, int, int, int, int, bool, int, bool, int, float> MaskedCases => new()
    {
        { 1, 2, 64, 64, 8, true, 0, false, 1, 0 }, { 1, 1, 300, 300, 20, true, 0, false, 70, 0 }, { 2, 1, 300, 300, 5, false, 0, true, 33, 0 },
        { 1, 2, 200, 200, 17, false, 0, false, 65, 0 }, { 1, 1, 90, 200, 12, true, 110, false, 40, 0 }, { 1, 1, 130, 70, 6, false, -40, true, 20, 0 },
        { 1, 1, 600, 600, 3, true, 0, false, 128, 0 }, { 1, 1, 40, 40, 16, true, 0, false, 1000, 0 }, { 2, 1, 70, 20, 4, false, 0, true, 5, 0 },
        { 1, 2, 64, 64, 8, true, 0, false, 0, 0.1f }, { 2, 3, 33, 70, 17, false, 0, true, 0, 0.5f }, { 1, 1, 100, 131, 5, false, 0, false, 0, 0.9f },
        { 2, 2, 150, 150, 9, true, 0, true, 40, 0.25f }, { 1, 1, 600, 150, 4, false, -200, false, 90, 0.3f },
    };

    [Theory]
    [MemberData(nameof(MaskedCases))]
    public void WindowAndDropout_LevelsAndThreads_EqualReference(
        int batch, int heads, int queries, int keys, int width, bool causal, int offset, bool lengths, int window, float rate)
    {
        using var problem = new Problem(batch, heads, queries, keys, width, causal, offset, lengths) { Window = window, Rate = rate };
        problem.RunReference();
        float[][] expected = problem.Results();
        for (int threads = 1; threads <= 5; threads += 4)
        {
            using var pool = new KernelPool(threads);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                problem.Run(pool);
                float[][] actual = problem.Results();
                for (int i = 0; i < expected.Length; i++)
                    TestData.AssertSameBits(expected[i], actual[i], $"{Problem.Names[i]} at {level} on {threads} threads");
            }
        }
    }

    [Theory]
    [InlineData(true, 0, 4)]
    [InlineData(false, 30, 9)]
    public void Backward_WithAWindow_AgreesWithCentralDifferences(bool causal, int offset, int window)
    {
        using var problem = new Problem(1, 2, 40, 75, 6, causal, offset, lengths: false) { Window = window };
        problem.Run(null);
        float[] dq = problem.GradientQ.Span.ToArray(), dkv = problem.GradientKV.Span.ToArray();
        Check(problem, problem.Q, dq, 7);
        Check(problem, problem.KV, dkv, 23);
    }

    // What is dropped does not change with what is perturbed.
    [Fact]
    public void Backward_WithDropout_AgreesWithCentralDifferences()
    {
        using var problem = new Problem(1, 2, 40, 75, 6, causal: true, offset: 20, lengths: false) { Rate = 0.3f };
        problem.Run(null);
        float[] dq = problem.GradientQ.Span.ToArray(), dkv = problem.GradientKV.Span.ToArray();
        Check(problem, problem.Q, dq, 7);
        Check(problem, problem.KV, dkv, 23);
    }

    [Fact]
    public void Forward_KeysBeforeTheWindow_DoNotMatter()
    {
        using var problem = new Problem(1, 1, 256, 256, 12, causal: true, 0, lengths: false) { Window = 32 };
        problem.Run(null);
        float[] before = problem.O.Span.ToArray();
        // Queries from 224 on see keys from 193 on.
        for (int j = 0; j < 128; j++) problem.KV.Span.Slice(j * 24, 24).Fill(float.NaN);
        problem.Run(null);
        TestData.AssertSameBits(before.AsSpan(224 * 12), problem.O.Span[(224 * 12)..], "output");
    }

    [Fact]
    public void Dropout_KeepsAShareAndTheExpectation_ByPlaceAndStepAlone()
    {
        using var whole = new Problem(3, 2, 64, 64, 8, causal: false, 0, lengths: false) { Rate = 0.4f };
        for (int i = 0; i < whole.KV.Span.Length; i++) whole.KV.Span[i] = 1;
        whole.Run(null);
        float[] all = whole.O.Span.ToArray();
        // All values are 1: each output is the kept share of the weights, over 0.6.
        Assert.Equal(1, all.Average(), 0.02);
        Assert.True(all.Distinct().Count() > 5);

        // The third example alone, at its place.
        using var last = new Problem(3, 2, 64, 64, 8, causal: false, 0, lengths: false) { Rate = 0.4f, Place = 2 };
        last.KV.Span.Fill(1);
        last.Q.Span.Clear();
        whole.Q.Span.Clear();
        whole.Run(null);
        last.Run(null, batch: 1);
        int size = 64 * 2 * 8;
        TestData.AssertSameBits(whole.O.Span[(2 * size)..], last.O.Span[..size], "the third example");
        Assert.NotEqual(whole.O.Span[..size].ToArray(), last.O.Span[..size].ToArray());
    }

    [Fact]
    public void Backward_AgainstCentralDifferences_Agrees()
    {
        using var problem = new Problem(1, 2, 9, 70, 6, causal: true, 61, lengths: false);
        problem.Run(null);
        float[] dq = problem.GradientQ.Span.ToArray(), dkv = problem.GradientKV.Span.ToArray();
        Check(problem, problem.Q, dq, 3);
        Check(problem, problem.KV, dkv, 11);
    }

    [Fact]
    public void Forward_PaddedKeysAndFutureKeys_DoNotMatter()
    {
        using var problem = new Problem(2, 1, 40, 96, 12, causal: true, 0, lengths: true);
        problem.Run(null);
        float[] before = problem.O.Span.ToArray();
        // Example 0 has 96 - 7 keys; and no query sees a key beyond 39.
        for (int j = 64; j < 96; j++) problem.KV.Span.Slice(j * 24, 24).Fill(float.NaN);
        problem.Run(null);
        TestData.AssertSameBits(before.AsSpan(0, 480), problem.O.Span[..480], "output");
    }

    [Fact]
    public void Forward_NoKeyOrNaN_GivesZeroOrNaN()
    {
        using var none = new Problem(1, 1, 4, 8, 4, causal: true, -2, lengths: false);
        none.Run(null);
        Assert.Equal(new float[8], none.O.Span[..8].ToArray());
        Assert.Equal(float.PositiveInfinity, none.Logarithms.Span[1]);
        Assert.Equal(new float[8], none.GradientQ.Span[..8].ToArray());
        Assert.NotEqual(0, none.O.Span[8]);

        using var nan = new Problem(1, 1, 4, 8, 4, causal: false, 0, lengths: false);
        nan.Q.Span[5] = float.NaN;
        nan.Run(null);
        Assert.False(float.IsNaN(nan.O.Span[0]));
        Assert.True(float.IsNaN(nan.O.Span[4]));
        Assert.True(float.IsNaN(nan.GradientKV.Span[0]));
    }

    [Fact]
    public void Forward_PartOfTheBatch_GivesTheSameBits()
    {
        using var whole = new Problem(3, 2, 40, 70, 8, causal: false, 0, lengths: false);
        whole.Run(null);
        float[] expected = whole.O.Span.ToArray();
        whole.O.Span.Clear();
        whole.Run(null, batch: 2);
        int part = 2 * 40 * 2 * 8;
        TestData.AssertSameBits(expected.AsSpan(0, part), whole.O.Span[..part], "two of three examples");
    }

    [Fact]
    public void Forward_SteadyState_AllocatesNothing()
    {
        using var pool = new KernelPool(2);
        using var problem = new Problem(2, 2, 64, 64, 16, causal: true, 0, lengths: false);
        for (int i = 0; i < 30; i++) problem.Run(pool);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 30; i++) problem.Run(pool);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void Forward_BadArguments_Throw()
    {
        using var problem = new Problem(1, 1, 4, 4, 4, causal: false, 0, lengths: true);
        AttentionShape shape = problem.Shape;
        Assert.Throws<ArgumentOutOfRangeException>(() => new Problem(1, 1, 4, 4, 4, causal: false, 0, lengths: false) { Rate = 1 }.Run(null));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Problem(1, 1, 4, 4, 4, causal: false, 0, lengths: false) { Window = -1 }.Run(null));
        HeadsView q = problem.ViewQ, k = problem.ViewK, v = problem.ViewV, o = problem.ViewO;
        float* l = problem.Logarithms.Pointer;
        Assert.Throws<ArgumentOutOfRangeException>(() => Attention.Forward(shape with { Scale = 0 }, q, k, v, o, l));
        Assert.Throws<ArgumentOutOfRangeException>(() => Attention.Forward(shape with { Width = 0 }, q, k, v, o, l));
        Assert.Throws<ArgumentException>(() => Attention.Forward(shape, q, k, v, q, l));
        *shape.Lengths = 5;
        var failure = Assert.Throws<ArgumentOutOfRangeException>(() => Attention.Forward(shape, q, k, v, o, l));
        Assert.Contains("Example 0 has 5 keys", failure.Message, StringComparison.Ordinal);
    }

    private static void Check(Problem problem, BoundedMemory x, float[] gradient, int step)
    {
        const float H = 0.01f;
        for (int i = 0; i < gradient.Length; i += step)
        {
            float old = x.Span[i];
            x.Span[i] = old + H;
            double up = problem.ExactLoss();
            x.Span[i] = old - H;
            double down = problem.ExactLoss();
            x.Span[i] = old;
            double difference = (up - down) / ((double)(old + H) - (old - H));
            Assert.True(Math.Abs(difference - gradient[i]) < 2e-3 * (1 + Math.Abs(difference)), $"element {i}: {difference} against {gradient[i]}");
        }
    }

    /// <summary>q and o by themselves, k and v packed as (batch, keys, heads, 2, width), all ending at an inaccessible page.</summary>
    private sealed class Problem : IDisposable
    {
        public static readonly string[] Names = ["o", "logarithms", "dq", "dkv"];

        private readonly BoundedMemory _lengths;

        public Problem(int batch, int heads, int queries, int keys, int width, bool causal, int offset, bool lengths)
        {
            int sizeQ = batch * queries * heads * width, sizeKV = 2 * batch * keys * heads * width;
            (Q, O, GradientO, GradientQ) = (new(sizeQ), new(sizeQ), new(sizeQ), new(sizeQ));
            (KV, GradientKV) = (new(sizeKV), new(sizeKV));
            Logarithms = new(batch * heads * queries);
            _lengths = new(batch);
            int* counts = (int*)_lengths.Pointer;
            for (int b = 0; b < batch; b++) counts[b] = Math.Max(keys - 7 + (b * 3), 0);
            TestData.Fill(Q.Span, 1);
            TestData.Fill(KV.Span, 2);
            TestData.Fill(GradientO.Span, 3);
            Shape = new AttentionShape
            {
                Batch = batch,
                Heads = heads,
                Queries = queries,
                Keys = keys,
                Width = width,
                Causal = causal,
                Offset = offset,
                Scale = 0.4f / MathF.Sqrt(width),
                Lengths = lengths ? counts : null,
            };
        }

        public AttentionShape Shape { get; private set; }

        public nint Window
        {
            init => Shape = Shape with { Window = value };
        }

        public float Rate
        {
            init => Shape = Shape with { Dropout = new AttentionDropout(new KeyedRandom(5, 0x54000003), 7, Shape.Dropout.Place, value) };
        }

        public ulong Place
        {
            init => Shape = Shape with { Dropout = Shape.Dropout with { Place = value } };
        }

        public BoundedMemory Q { get; }

        public BoundedMemory KV { get; }

        public BoundedMemory O { get; }

        public BoundedMemory GradientO { get; }

        public BoundedMemory GradientQ { get; }

        public BoundedMemory GradientKV { get; }

        public BoundedMemory Logarithms { get; }

        public HeadsView ViewQ => HeadsView.Contiguous(Q.Pointer, Shape.Queries, Shape.Heads, Shape.Width);

        public HeadsView ViewO => HeadsView.Contiguous(O.Pointer, Shape.Queries, Shape.Heads, Shape.Width);

        public HeadsView ViewK => Packed(KV.Pointer);

        public HeadsView ViewV => Packed(KV.Pointer + Shape.Width);

        public void Run(KernelPool? pool, int? batch = null)
        {
            AttentionShape shape = Shape with { Batch = batch ?? Shape.Batch };
            Attention.Forward(in shape, ViewQ, ViewK, ViewV, ViewO, Logarithms.Pointer, pool);
            Attention.Backward(
                in shape, ViewQ, ViewK, ViewV, ViewO, Logarithms.Pointer, Contiguous(GradientO), Contiguous(GradientQ),
                Packed(GradientKV.Pointer), Packed(GradientKV.Pointer + Shape.Width), pool);
        }

        public void RunReference()
        {
            ReferenceAttention.Forward(Shape, ViewQ, ViewK, ViewV, ViewO, Logarithms.Pointer);
            ReferenceAttention.Backward(
                Shape, ViewQ, ViewK, ViewV, ViewO, Logarithms.Pointer, Contiguous(GradientO), Contiguous(GradientQ),
                Packed(GradientKV.Pointer), Packed(GradientKV.Pointer + Shape.Width));
        }

        /// <summary>The results, and traps in their place for the next run.</summary>
        public float[][] Results()
        {
            BoundedMemory[] memories = [O, Logarithms, GradientQ, GradientKV];
            float[][] results = [.. memories.Select(m => m.Span.ToArray())];
            foreach (BoundedMemory memory in memories) memory.Span.Fill(77);
            return results;
        }

        /// <summary>Σ dO·softmax(…)·v, in double, by the formula.</summary>
        public double ExactLoss()
        {
            double loss = 0;
            var s = Shape;
            for (int b = 0; b < s.Batch; b++)
                for (int h = 0; h < s.Heads; h++)
                    for (int i = 0; i < s.Queries; i++)
                        loss += ExactQuery(b, h, i);
            return loss;
        }

        public void Dispose()
        {
            foreach (BoundedMemory memory in (BoundedMemory[])[Q, KV, O, GradientO, GradientQ, GradientKV, Logarithms, _lengths]) memory.Dispose();
        }

        private double ExactQuery(int b, int h, int i)
        {
            var s = Shape;
            float* q = ViewQ.Pointer + (((((b * s.Queries) + i) * s.Heads) + h) * s.Width), g = q - Q.Pointer + GradientO.Pointer;
            double above = 0, below = 0;
            for (int j = 0; j < s.Keys && (!s.Causal || j <= i + s.Offset); j++)
            {
                if (s.Window > 0 && Math.Abs(i + s.Offset - j) >= s.Window) continue;
                float* k = KV.Pointer + (((((b * s.Keys) + j) * s.Heads) + h) * 2 * s.Width);
                double score = 0, value = 0;
                for (int e = 0; e < s.Width; e++)
                {
                    score += (double)q[e] * k[e];
                    value += (double)g[e] * k[s.Width + e];
                }
                double weight = ScalarMath.Exp(score * s.Scale);
                if (Keeps(b, h, i, j)) above += weight * value / (1 - s.Dropout.Rate);
                below += weight;
            }
            return above / below;
        }

        private bool Keeps(int b, int h, int i, int j)
        {
            AttentionDropout d = Shape.Dropout;
            ulong head = ((d.Place + (ulong)b) * (ulong)Shape.Heads) + (ulong)h;
            return d.Random.Uniform((head << 32) + d.Step, (ulong)((i * ((Shape.Keys + 31) / 32 * 32)) + j)) >= d.Rate;
        }

        private HeadsView Packed(float* p) =>
            new(p, Shape.Keys * Shape.Heads * 2 * Shape.Width, Shape.Heads * 2 * Shape.Width, 2 * Shape.Width);

        private HeadsView Contiguous(BoundedMemory m) => HeadsView.Contiguous(m.Pointer, Shape.Queries, Shape.Heads, Shape.Width);
    }
}
