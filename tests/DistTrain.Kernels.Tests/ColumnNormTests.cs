using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class ColumnNormTests
{
    public static TheoryData<int, string> BatchCases => new()
    {
        { 1, "2" }, { 3, "5 1 0 2" }, { 16, "64 65" }, { 37, "3+70 1+1 0" }, { 64, "10 11 12" }, { 100, "200+3 40" }, { 300, "4 4 4 4 4" },
    };

    // Examples' leaves, positions, channels, groups.
    public static TheoryData<string, int, int, int> GroupCases => new()
    {
        { "1", 1, 1, 1 }, { "2 1", 9, 6, 3 }, { "1+2 0 3", 49, 32, 4 }, { "2", 130, 80, 1 }, { "3 3", 10, 17, 17 }, { "1 1 1", 25, 128, 8 },
    };

    [Theory]
    [MemberData(nameof(BatchCases))]
    public void Batch_LeavesLevelsAndThreads_EqualReference(int channels, string leaves)
    {
        using var b = new Batch(channels, leaves);
        b.Forward(reference: true, null);
        float[][] outputs = b.Outputs();
        b.Backward(reference: true, null);
        float[][] gradients = b.Gradients();
        for (int threads = 1; threads <= 4; threads++)
        {
            using var pool = new KernelPool(threads);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                b.Forward(reference: false, pool);
                Same(outputs, b.Outputs(), $"{channels} channels, {leaves} at {level} on {threads} threads");
                b.Backward(reference: false, pool);
                Same(gradients, b.Gradients(), $"backward, {channels} channels, {leaves} at {level} on {threads} threads");
            }
        }
    }

    [Fact]
    public void Batch_ManyRowsOnThreads_EqualsReference()
    {
        using var b = new Batch(70, "500 300");
        b.Forward(reference: true, null);
        float[][] outputs = b.Outputs();
        b.Backward(reference: true, null);
        float[][] gradients = b.Gradients();
        using var pool = new KernelPool(5);
        b.Forward(reference: false, pool);
        Same(outputs, b.Outputs(), "forward");
        b.Backward(reference: false, pool);
        Same(gradients, b.Gradients(), "backward");
    }

    [Fact]
    public void Batch_AgainstExactFormula_Agrees()
    {
        using var b = new Batch(4, "90 70", offset: 300);
        float weight = b.Forward(reference: false, null);
        Assert.Equal(160f, weight);
        float[][] outputs = b.Outputs();
        double[] means = new double[4], variances = new double[4];
        for (int c = 0; c < 4; c++)
        {
            foreach ((int start, int count) in ((int, int)[])[(0, 90), (90, 70)])
            {
                double[] x = [.. Enumerable.Range(start, count).Select(row => (double)b.X.Span[(row * 4) + c])];
                double mean = x.Average(), variance = x.Average(v => (v - mean) * (v - mean));
                means[c] += mean * count;
                variances[c] += variance * count / (count - 1) * count;
                for (int i = 0; i < count; i++)
                    Assert.Equal(((x[i] - mean) / Math.Sqrt(variance + 1e-5) * b.Scale.Span[c]) + b.Shift.Span[c], outputs[0][((start + i) * 4) + c], 2e-4);
            }
            Assert.Equal(means[c] / 160, outputs[3][c] / weight, 1e-3);
            Assert.Equal(1, outputs[3][4 + c] / weight / (variances[c] / 160), 1e-4);
        }
    }

    [Fact]
    public void Batch_Backward_AgreesWithCentralDifferences()
    {
        using var b = new Batch(3, "5 6");
        b.Forward(reference: false, null);
        b.Backward(reference: false, null);
        float[][] gradients = b.Gradients();
        Differences(b.X, gradients[0], b.ExactLoss);
        Differences(b.Scale, gradients[1], b.ExactLoss);
        Differences(b.Shift, gradients[2], b.ExactLoss);
    }

    [Fact]
    public void Batch_OneRow_UsesTheRunningStatisticsAsEvaluationDoes()
    {
        using var b = new Batch(21, "1");
        Assert.Equal(0f, b.Forward(reference: false, null));
        float[][] outputs = b.Outputs();
        Assert.Equal(new float[42], outputs[3]);
        float[] y = new float[21];
        fixed (float* p = y)
            BatchNorm.Evaluate(b.X.Pointer, 1, 21, b.Scale.Pointer, b.Shift.Pointer, 1e-5f, b.RunningMean.Pointer, b.RunningVariance.Pointer, p);
        TestData.AssertSameBits(outputs[0], y, "evaluation");
    }

    [Theory]
    [MemberData(nameof(GroupCases))]
    public void Group_LeavesLevelsAndThreads_EqualReference(string leaves, int positions, int channels, int groups)
    {
        using var g = new Group(leaves, positions, channels, groups);
        g.Run(reference: true, null);
        float[][] expected = g.Results();
        for (int threads = 1; threads <= 3; threads++)
        {
            using var pool = new KernelPool(threads);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                g.Run(reference: false, pool);
                Same(expected, g.Results(), $"{positions}x{channels} in {groups} at {level} on {threads} threads");
            }
        }
    }

    [Fact]
    public void Group_Backward_AgreesWithCentralDifferences()
    {
        using var g = new Group("2 1", 5, 6, 2);
        g.Run(reference: false, null);
        float[][] results = g.Results();
        Differences(g.X, results[3], g.ExactLoss);
        Differences(g.Scale, results[4], g.ExactLoss);
        Differences(g.Shift, results[5], g.ExactLoss);
    }

    [Fact]
    public void Group_ChannelsThatDoNotDivide_Throws()
    {
        using var x = new NativeBuffer(64);
        float* p = x.Pointer;
        var failure = Assert.Throws<ArgumentException>(() => GroupNorm.Forward(p, 1, 1, 6, 4, p, p, 0, p, p, p));
        Assert.Contains("6 channels can't be cut into 4", failure.Message, StringComparison.Ordinal);
    }

    private static void Same(float[][] expected, float[][] actual, string what)
    {
        for (int i = 0; i < expected.Length; i++) TestData.AssertSameBits(expected[i], actual[i], $"result {i}: {what}");
    }

    private static void Differences(BoundedMemory x, float[] gradient, Func<double> loss)
    {
        for (int i = 0; i < gradient.Length; i++)
        {
            float old = x.Span[i];
            x.Span[i] = old + 0.01f;
            double up = loss(), above = x.Span[i];
            x.Span[i] = old - 0.01f;
            double difference = (up - loss()) / (above - x.Span[i]);
            x.Span[i] = old;
            Assert.True(Math.Abs(difference - gradient[i]) < 1e-3 * (1 + Math.Abs(difference)), $"element {i}: {difference} against {gradient[i]}");
        }
    }

    private static BoundedMemory Filled(int length, int seed, float offset = 0)
    {
        var memory = new BoundedMemory(length);
        TestData.Fill(memory.Span, seed);
        foreach (ref float value in memory.Span) value += offset;
        return memory;
    }

    private sealed class Batch : IDisposable
    {
        private readonly int _channels;
        private readonly KRange[] _ranges;
        private readonly int[] _starts;
        private readonly BoundedMemory _y, _means, _reciprocals, _sums, _dy, _dx, _dScale, _dShift;

        public Batch(int channels, string leaves, float offset = 0)
        {
            (_ranges, _starts, int rows) = TestData.Leaves(leaves);
            _channels = channels;
            int count = _starts.Length - 1;
            (X, _y, _dy, _dx) = (Filled(rows * channels, 1, offset), new(rows * channels), Filled(rows * channels, 2), new(rows * channels));
            (Scale, Shift, RunningMean, RunningVariance) = (Filled(channels, 3), Filled(channels, 4), Filled(channels, 5), Filled(channels, 6, 10));
            (_means, _reciprocals, _sums, _dScale, _dShift) = (new(count * channels), new(count * channels), new(2 * channels), new(channels), new(channels));
        }

        public BoundedMemory X { get; }

        public BoundedMemory Scale { get; }

        public BoundedMemory Shift { get; }

        public BoundedMemory RunningMean { get; }

        public BoundedMemory RunningVariance { get; }

        public float Forward(bool reference, KernelPool? pool) => reference
            ? ReferenceNorms.BatchForward(
                X.Pointer, _channels, _ranges, _starts, Scale.Pointer, Shift.Pointer, 1e-5f, RunningMean.Pointer, RunningVariance.Pointer,
                _y.Pointer, _means.Pointer, _reciprocals.Pointer, _sums.Pointer)
            : BatchNorm.Forward(
                X.Pointer, _channels, _ranges, _starts, Scale.Pointer, Shift.Pointer, 1e-5f, RunningMean.Pointer, RunningVariance.Pointer,
                _y.Pointer, _means.Pointer, _reciprocals.Pointer, _sums.Pointer, pool);

        public void Backward(bool reference, KernelPool? pool)
        {
            if (reference)
            {
                ReferenceNorms.BatchBackward(
                    _dy.Pointer, X.Pointer, _channels, _ranges, _starts, Scale.Pointer, _means.Pointer, _reciprocals.Pointer, _dx.Pointer,
                    _dScale.Pointer, _dShift.Pointer);
                return;
            }
            BatchNorm.Backward(
                _dy.Pointer, X.Pointer, _channels, _ranges, _starts, Scale.Pointer, _means.Pointer, _reciprocals.Pointer, _dx.Pointer,
                _dScale.Pointer, _dShift.Pointer, pool);
        }

        public float[][] Outputs() => [_y.Span.ToArray(), _means.Span.ToArray(), _reciprocals.Span.ToArray(), _sums.Span.ToArray()];

        public float[][] Gradients() => [_dx.Span.ToArray(), _dScale.Span.ToArray(), _dShift.Span.ToArray()];

        public double ExactLoss()
        {
            double loss = 0;
            foreach (KRange range in _ranges)
            {
                for (int c = 0; c < _channels; c++)
                {
                    int[] at = [.. Enumerable.Range(range.Start, range.Count).Select(row => (row * _channels) + c)];
                    double mean = at.Average(i => (double)X.Span[i]), variance = at.Average(i => (X.Span[i] - mean) * (X.Span[i] - mean));
                    loss += at.Sum(i => _dy.Span[i] * (((X.Span[i] - mean) / Math.Sqrt(variance + 1e-5f) * Scale.Span[c]) + Shift.Span[c]));
                }
            }
            return loss;
        }

        public void Dispose()
        {
            foreach (BoundedMemory memory in (BoundedMemory[])[X, Scale, Shift, RunningMean, RunningVariance, _y, _means, _reciprocals, _sums, _dy, _dx, _dScale, _dShift])
                memory.Dispose();
        }
    }

    private sealed class Group : IDisposable
    {
        private readonly int _examples, _positions, _channels, _groups;
        private readonly KRange[] _ranges;
        private readonly int[] _starts;
        private readonly BoundedMemory _y, _means, _reciprocals, _dy, _dx, _dScale, _dShift;

        public Group(string leaves, int positions, int channels, int groups)
        {
            (_ranges, _starts, _examples) = TestData.Leaves(leaves);
            (_positions, _channels, _groups) = (positions, channels, groups);
            int size = _examples * positions * channels;
            (X, _y, _dy, _dx) = (Filled(size, 1), new(size), Filled(size, 2), new(size));
            (Scale, Shift, _dScale, _dShift) = (Filled(channels, 3), Filled(channels, 4), new(channels), new(channels));
            (_means, _reciprocals) = (new(_examples * groups), new(_examples * groups));
        }

        public BoundedMemory X { get; }

        public BoundedMemory Scale { get; }

        public BoundedMemory Shift { get; }

        public void Run(bool reference, KernelPool? pool)
        {
            float* x = X.Pointer, m = _means.Pointer, r = _reciprocals.Pointer, dy = _dy.Pointer, dx = _dx.Pointer, s = Scale.Pointer;
            if (reference)
            {
                ReferenceNorms.GroupForward(x, _examples, _positions, _channels, _groups, s, Shift.Pointer, 1e-5f, _y.Pointer, m, r);
                ReferenceNorms.GroupBackward(
                    dy, x, _examples, _positions, _channels, _groups, s, m, r, _ranges, _starts, dx, _dScale.Pointer, _dShift.Pointer);
                return;
            }
            GroupNorm.Forward(x, _examples, _positions, _channels, _groups, s, Shift.Pointer, 1e-5f, _y.Pointer, m, r, pool);
            GroupNorm.Backward(
                dy, x, _examples, _positions, _channels, _groups, s, m, r, _ranges, _starts, dx, _dScale.Pointer, _dShift.Pointer, pool);
        }

        public float[][] Results() =>
            [.. ((BoundedMemory[])[_y, _means, _reciprocals, _dx, _dScale, _dShift]).Select(memory => memory.Span.ToArray())];

        public double ExactLoss()
        {
            double loss = 0;
            int width = _channels / _groups;
            for (int item = 0; item < _examples * _groups; item++)
            {
                int[] at = [.. Enumerable.Range(0, _positions * width).Select(i =>
                    (((item / _groups * _positions) + (i / width)) * _channels) + (item % _groups * width) + (i % width))];
                double mean = at.Average(i => (double)X.Span[i]), variance = at.Average(i => (X.Span[i] - mean) * (X.Span[i] - mean));
                loss += at.Sum(i => _dy.Span[i] * (((X.Span[i] - mean) / Math.Sqrt(variance + 1e-5f) * Scale.Span[i % _channels]) + Shift.Span[i % _channels]));
            }
            return loss;
        }

        public void Dispose()
        {
            foreach (BoundedMemory memory in (BoundedMemory[])[X, Scale, Shift, _y, _means, _reciprocals, _dy, _dx, _dScale, _dShift]) memory.Dispose();
        }
    }
}
