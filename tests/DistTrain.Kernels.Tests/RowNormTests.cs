using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class RowNormTests
{
    public static TheoryData<int, string> Cases => new()
    {
        { 1, "3 1" }, { 5, "1" }, { 16, "4 4 4" }, { 17, "2+3 0 5" }, { 31, "7 6 5" }, { 100, "1+2 3+1+1" }, { 128, "9 8 9 8 9" }, { 200, "0" },
    };

    [Fact]
    public void Forward_AllFeatureCountsAndLevelsAtAPageEnd_EqualsReference()
    {
        for (int features = 1; features <= 256; features += features < 70 ? 1 : 13)
        {
            foreach (bool layer in (bool[])[true, false])
            {
                using var problem = new Problem(features, "6", layer);
                problem.Forward(reference: true, null);
                float[][] expected = problem.Outputs();
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    problem.Forward(reference: false, null);
                    Same(expected, problem.Outputs(), $"{features} features at {level}");
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Backward_LeavesLevelsAndThreads_EqualReference(int features, string leaves)
    {
        foreach (bool layer in (bool[])[true, false])
        {
            using var problem = new Problem(features, leaves, layer);
            problem.Forward(reference: true, null);
            problem.Backward(reference: true, null);
            float[][] expected = problem.Gradients();
            for (int threads = 1; threads <= 4; threads++)
            {
                using var pool = new KernelPool(threads);
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    problem.Backward(reference: false, pool);
                    Same(expected, problem.Gradients(), $"{features} features, {leaves} at {level} on {threads} threads");
                }
            }
        }
    }

    [Fact]
    public void Backward_ManyRowsOnThreadsInPlace_EqualsReference()
    {
        using var problem = new Problem(40, "700 300 500", layer: true);
        problem.Forward(reference: true, null);
        problem.Backward(reference: true, null);
        float[][] expected = problem.Gradients();
        using var pool = new KernelPool(3);
        problem.Backward(reference: false, pool, inPlace: true);
        Same(expected, problem.Gradients(), "in place on threads");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Backward_AgainstCentralDifferences_Agrees(bool layer)
    {
        using var problem = new Problem(13, "3 2", layer);
        problem.Forward(reference: false, null);
        problem.Backward(reference: false, null);
        float[][] gradients = problem.Gradients();
        Differences(problem, problem.X, gradients[0]);
        Differences(problem, problem.Scale, gradients[1]);
        if (layer) Differences(problem, problem.Shift, gradients[2]);
    }

    [Fact]
    public void LayerNorm_MeanFarFromZero_KeepsTheDigits()
    {
        const int Features = 64;
        float[] x = [.. TestData.Random(Features, 1).Select(v => v + 10_000f)], y = new float[Features], one = [.. Enumerable.Repeat(1f, Features)];
        float mean, r;
        fixed (float* px = x, py = y, p1 = one, p0 = new float[Features]) LayerNorm.Forward(px, 1, Features, p1, p0, 0, py, &mean, &r);
        double exact = x.Average(v => (double)v), variance = x.Average(v => (v - exact) * (v - exact));
        for (int i = 0; i < Features; i++) Assert.Equal((x[i] - exact) / Math.Sqrt(variance), y[i], 5e-4);
    }

    // torch.nn.functional.layer_norm(torch.tensor([[1., 2., 4., 8.]]), (4,), torch.tensor([1., .5, 2., 1.]), torch.tensor([0., 1., 0., -1.]))
    [Fact]
    public void LayerNorm_KnownRow_GivesPyTorchsNumbers()
    {
        float[] x = [1, 2, 4, 8], scale = [1, 0.5f, 2, 1], shift = [0, 1, 0, -1], y = new float[4];
        float mean, r;
        fixed (float* px = x, ps = scale, ph = shift, py = y) LayerNorm.Forward(px, 1, 4, ps, ph, 1e-5f, py, &mean, &r);
        float[] expected = [-1.025754571f, 0.673623562f, 0.186500788f, 0.585257053f];
        for (int i = 0; i < 4; i++) Assert.Equal(expected[i], y[i], 2e-6f);
    }

    [Fact]
    public void Backward_SteadyState_AllocatesNothing()
    {
        using var pool = new KernelPool(2);
        using var problem = new Problem(64, "300 300", layer: true);
        problem.Forward(reference: false, pool);
        for (int i = 0; i < 30; i++) problem.Backward(reference: false, pool);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 30; i++) problem.Backward(reference: false, pool);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void Forward_BadArguments_Throw()
    {
        using var x = new NativeBuffer(64);
        float* p = x.Pointer;
        Assert.Throws<ArgumentOutOfRangeException>(() => RmsNorm.Forward(p, 2, 0, p + 8, 0, p, p + 16));
        Assert.Throws<ArgumentOutOfRangeException>(() => RmsNorm.Forward(p, 2, 4, p + 8, -1, p, p + 16));
        Assert.Throws<ArgumentException>(() => RmsNorm.Forward(p, 2, 4, p + 8, 0, p + 1, p + 16));
        Assert.Throws<ArgumentNullException>(() => LayerNorm.Forward(p, 2, 4, p + 8, null, 0, p, p + 16, p + 20));
    }

    private static void Same(float[][] expected, float[][] actual, string what)
    {
        for (int i = 0; i < expected.Length; i++) TestData.AssertSameBits(expected[i], actual[i], $"result {i}: {what}");
    }

    private static void Differences(Problem problem, BoundedMemory x, float[] gradient)
    {
        for (int i = 0; i < gradient.Length; i++)
        {
            float old = x.Span[i];
            x.Span[i] = old + 0.01f;
            double up = problem.ExactLoss(), above = x.Span[i];
            x.Span[i] = old - 0.01f;
            double difference = (up - problem.ExactLoss()) / (above - x.Span[i]);
            x.Span[i] = old;
            Assert.True(Math.Abs(difference - gradient[i]) < 1e-3 * (1 + Math.Abs(difference)), $"element {i}: {difference} against {gradient[i]}");
        }
    }

    private sealed class Problem : IDisposable
    {
        private readonly int _features, _rows;
        private readonly bool _layer;
        private readonly KRange[] _ranges;
        private readonly int[] _starts;
        private readonly BoundedMemory _y, _means, _reciprocals, _dy, _dx, _dScale, _dShift;

        public Problem(int features, string leaves, bool layer)
        {
            (_features, _layer) = (features, layer);
            (_ranges, _starts, _rows) = TestData.Leaves(leaves);
            (X, _y, _dy, _dx) = (Filled(_rows * features, 1), new(_rows * features), Filled(_rows * features, 2), new(_rows * features));
            (Scale, Shift) = (Filled(features, 3), Filled(features, 4));
            (_means, _reciprocals, _dScale, _dShift) = (new(_rows), new(_rows), new(features), new(features));
        }

        public BoundedMemory X { get; }

        public BoundedMemory Scale { get; }

        public BoundedMemory Shift { get; }

        public void Forward(bool reference, KernelPool? pool)
        {
            float* shift = _layer ? Shift.Pointer : null;
            if (reference)
                ReferenceNorms.RowsForward(X.Pointer, _rows, _features, Scale.Pointer, shift, 1e-5f, _y.Pointer, _means.Pointer, _reciprocals.Pointer);
            else if (_layer)
                LayerNorm.Forward(X.Pointer, _rows, _features, Scale.Pointer, shift, 1e-5f, _y.Pointer, _means.Pointer, _reciprocals.Pointer, pool);
            else
                RmsNorm.Forward(X.Pointer, _rows, _features, Scale.Pointer, 1e-5f, _y.Pointer, _reciprocals.Pointer, pool);
        }

        public void Backward(bool reference, KernelPool? pool, bool inPlace = false)
        {
            float* means = _layer ? _means.Pointer : null, dy = _dy.Pointer, x = X.Pointer, dx = _dx.Pointer;
            if (inPlace)
            {
                _dy.Span.CopyTo(_dx.Span);
                dy = dx;
            }
            if (reference)
                ReferenceNorms.RowsBackward(dy, x, _features, Scale.Pointer, means, _reciprocals.Pointer, _ranges, _starts, dx, _dScale.Pointer, _dShift.Pointer);
            else if (_layer)
                LayerNorm.Backward(dy, x, _features, Scale.Pointer, means, _reciprocals.Pointer, _ranges, _starts, dx, _dScale.Pointer, _dShift.Pointer, pool);
            else
                RmsNorm.Backward(dy, x, _features, Scale.Pointer, _reciprocals.Pointer, _ranges, _starts, dx, _dScale.Pointer, pool);
        }

        public float[][] Outputs() => [.. Take(_y), .. Take(_means), .. Take(_reciprocals)];

        public float[][] Gradients() => [.. Take(_dx), .. Take(_dScale), .. Take(_dShift)];

        public double ExactLoss()
        {
            double loss = 0;
            for (int row = 0; row < _rows; row++)
            {
                float* x = X.Pointer + (row * _features), g = _dy.Pointer + (row * _features);
                double mean = 0, variance = 0;
                for (int i = 0; i < _features && _layer; i++) mean += (double)x[i] / _features;
                for (int i = 0; i < _features; i++) variance += (x[i] - mean) * (x[i] - mean) / _features;
                for (int i = 0; i < _features; i++)
                    loss += g[i] * (((x[i] - mean) / Math.Sqrt(variance + 1e-5f) * Scale.Span[i]) + (_layer ? Shift.Span[i] : 0));
            }
            return loss;
        }

        public void Dispose()
        {
            foreach (BoundedMemory memory in (BoundedMemory[])[X, Scale, Shift, _y, _means, _reciprocals, _dy, _dx, _dScale, _dShift]) memory.Dispose();
        }

        private static float[][] Take(BoundedMemory memory)
        {
            float[] values = memory.Span.ToArray();
            return [values];
        }

        private static BoundedMemory Filled(int length, int seed)
        {
            var memory = new BoundedMemory(length);
            TestData.Fill(memory.Span, seed);
            return memory;
        }
    }
}
