namespace DistTrain.Kernels.Tests;

/// <summary>Operands that begin anywhere within 64 bytes give the same bits.</summary>
public sealed unsafe class AlignmentTests
{
    [Fact]
    public void Products_OperandsShifted_GiveTheSameBits() => Same(shift =>
    {
        const int M = 19, N = 37, K = 45;
        using Block a = new(M * K, shift, 1), b = new(K * N, 2 * shift, 2), c = new(M * N, 3 * shift, 3), d = new(M * N, shift, 4);
        using Block bias = new(N, 5 * shift, 5), dw = new(N * K, shift, 6), db = new(N, shift, 7);
        Gemm.Multiply(MatrixForm.Normal, MatrixForm.Normal, M, N, K, 1, a.Pointer, K, b.Pointer, N, 0, c.Pointer, N, new GemmEpilogue(bias.Pointer, Activation.Relu));
        Gemm.Multiply(MatrixForm.Transposed, MatrixForm.Transposed, M, N, K, 0.5f, a.Pointer, M, b.Pointer, K, 0.5f, d.Pointer, N);
        SegmentedGemm.WeightGradient(c.Pointer, N, a.Pointer, K, N, K, [new(0, 7), new(7, 12)], [0, 1, 2], dw.Pointer, K, null, db.Pointer);
        return [c.Values, d.Values, dw.Values, db.Values];
    });

    [Fact]
    public void Convolutions_OperandsShifted_GiveTheSameBits() => Same(shift =>
    {
        var results = new List<float[]>();
        foreach (ConvolutionShape s in (ConvolutionShape[])[ConvolutionShape.Square(7, 9, 5, 37, 3, padding: 1), ConvolutionShape.Square(7, 9, 1, 32, 3), ConvolutionShape.Square(8, 9, 32, 32, 3, padding: 1), ConvolutionShape.Square(8, 7, 19, 19, 3, groups: 19)])
        {
            using Block x = new((int)s.InputLength, shift, 1), w = new((int)s.WeightLength, shift, 2), y = new((int)s.OutputLength, 3 * shift, 3);
            using Block forward = new((int)Convolution.ForwardPackedLength(s), 5 * shift, 4), data = new((int)Convolution.DataPackedLength(s), shift, 5);
            using Block dx = new((int)s.InputLength, 7 * shift, 6), dw = new((int)s.WeightLength, shift, 7), db = new(s.Outputs, shift, 8);
            Convolution.PackForward(s, w.Pointer, forward.Pointer);
            Convolution.PackData(s, w.Pointer, data.Pointer);
            Convolution.Forward(s, 1, x.Pointer, forward.Pointer, y.Pointer);
            Convolution.DataGradient(s, 1, y.Pointer, data.Pointer, dx.Pointer);
            Convolution.WeightGradient(s, y.Pointer, x.Pointer, [new(0, 1)], [0, 1], dw.Pointer);
            Convolution.BiasGradient(s, y.Pointer, [new(0, 1)], [0, 1], db.Pointer);
            results.AddRange([y.Values, dx.Values, dw.Values, db.Values]);
        }
        return results;
    });

    [Fact]
    public void Elementwise_OperandsShifted_GivesTheSameBits() => Same(shift =>
    {
        const int Length = 117;
        using Block x = new(Length, shift, 1), y = new(Length, 3 * shift, 2), z = new(Length, 5 * shift, 3), t = new(Length, shift, 4), g = new(Length, 7 * shift, 5);
        Elementwise.ScaleAdd(0.3f, x.Pointer, y.Pointer, z.Pointer, Length);
        Elementwise.Tanh(z.Pointer, t.Pointer, Length);
        Activations.Gelu(x.Pointer, g.Pointer, Length);
        return [z.Values, t.Values, g.Values, [Reductions.Sum(x.Pointer, Length), Reductions.Max(y.Pointer, Length)]];
    });

    [Fact]
    public void Norms_OperandsShifted_GiveTheSameBits() => Same(shift =>
    {
        const int Rows = 9, Features = 37;
        KRange[] ranges = [new(0, 4), new(4, 5)];
        int[] starts = [0, 1, 2];
        using Block x = new(Rows * Features, shift, 1), y = new(Rows * Features, 3 * shift, 2), dy = new(Rows * Features, 5 * shift, 3), dx = new(Rows * Features, shift, 4);
        using Block scale = new(Features, shift, 5), shifts = new(Features, 7 * shift, 6), means = new(2 * Features, shift, 7), reciprocals = new(2 * Features, shift, 8);
        using Block dScale = new(Features, shift, 9), dShift = new(Features, 9 * shift, 10), sums = new(2 * Features, shift, 11);
        var results = new List<float[]>();
        LayerNorm.Forward(x.Pointer, Rows, Features, scale.Pointer, shifts.Pointer, 1e-5f, y.Pointer, means.Pointer, reciprocals.Pointer);
        LayerNorm.Backward(dy.Pointer, x.Pointer, Features, scale.Pointer, means.Pointer, reciprocals.Pointer, ranges, starts, dx.Pointer, dScale.Pointer, dShift.Pointer);
        results.AddRange([y.Values, dx.Values, dScale.Values, dShift.Values]);
        BatchNorm.Forward(
            x.Pointer, Features, ranges, starts, scale.Pointer, shifts.Pointer, 1e-5f, scale.Pointer, shifts.Pointer, y.Pointer, means.Pointer, reciprocals.Pointer, sums.Pointer);
        BatchNorm.Backward(
            dy.Pointer, x.Pointer, Features, ranges, starts, scale.Pointer, means.Pointer, reciprocals.Pointer, dx.Pointer, dScale.Pointer, dShift.Pointer);
        results.AddRange([y.Values, sums.Values, dx.Values, dScale.Values, dShift.Values]);
        GroupNorm.Forward(x.Pointer, 3, 3, Features, 1, scale.Pointer, shifts.Pointer, 1e-5f, y.Pointer, means.Pointer, reciprocals.Pointer);
        GroupNorm.Backward(
            dy.Pointer, x.Pointer, 3, 3, Features, 1, scale.Pointer, means.Pointer, reciprocals.Pointer, [new(0, 1), new(1, 2)], starts, dx.Pointer, dScale.Pointer, dShift.Pointer);
        results.AddRange([y.Values, dx.Values, dScale.Values, dShift.Values]);
        return results;
    });

    private static void Same(Func<int, IReadOnlyList<float[]>> run)
    {
        foreach (SimdLevel level in TestData.Levels)
        {
            using var forced = SimdPath.Force(level);
            IReadOnlyList<float[]> expected = run(0);
            for (int shift = 1; shift < 16; shift++)
            {
                IReadOnlyList<float[]> results = run(shift);
                for (int i = 0; i < expected.Count; i++) TestData.AssertSameBits(expected[i], results[i], $"result {i} at {level}, operands shifted by {shift}");
            }
        }
    }

    /// <summary>Random floats that begin a number of floats, modulo 16, behind a multiple of 64 bytes.</summary>
    private sealed class Block : IDisposable
    {
        private readonly NativeBuffer _buffer;
        private readonly int _length;

        public Block(int length, int shift, int seed)
        {
            _buffer = new NativeBuffer(length + 16);
            _length = length;
            Pointer = _buffer.Pointer + (shift % 16);
            TestData.Fill(new Span<float>(Pointer, length), seed);
        }

        public float* Pointer { get; }

        public float[] Values => new Span<float>(Pointer, _length).ToArray();

        public void Dispose() => _buffer.Dispose();
    }
}
