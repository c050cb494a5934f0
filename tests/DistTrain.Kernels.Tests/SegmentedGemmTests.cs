using System.Numerics;
using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class SegmentedGemmTests
{
    public static TheoryData<int, int, string> Cases => new()
    {
        { 12, 32, "4 4 4 4 4 4 4 4" }, { 13, 35, "5" }, { 10, 64, "3 0 2" }, { 25, 10, "1 1 1 1 1" }, { 7, 50, "0" }, { 33, 33, "2 3 0 0 4 1 7" },
        { 1, 1, "3 3 3 3 3 3" }, { 5, 17, "1 2 3 4 5 6 7 8 9 1 2" }, { 40, 100, "16 16 15 15 16 16 15 15" }, { 12, 32, "2+1+3 4+1 0+2" },
        { 50, 70, "1+1+1 2+0+2" },
        // In pairs of one depth, shallow and deep; then with a leaf left over, and in pairs of two depths.
        { 24, 64, "4 4 4 4 2 2" }, { 37, 100, "3 3 0 0 5 5 1 1 2 2" }, { 24, 64, "40 40 30 30" }, { 25, 33, "2+1 3 1+1 2 0 0" },
        { 24, 64, "3 3 4" }, { 24, 64, "3 4 4 3" },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void WeightGradient_LeavesAndTree_EqualsReference(int outputs, int inputs, string leaves)
    {
        var (ranges, starts, rows) = TestData.Leaves(leaves);
        int strideY = outputs + 2, strideX = inputs + 1, strideW = inputs + 5;
        using var y = Memory(rows, outputs, strideY, 1);
        using var x = Memory(rows, inputs, strideX, 2);
        using var w = Memory(outputs, inputs, strideW, 3);
        float[] expected = w.Span.ToArray();
        fixed (float* e = expected)
            ReferenceGemm.WeightGradient(y.Pointer, strideY, x.Pointer, strideX, outputs, inputs, ranges, starts, e, strideW);
        float[] expectedBias = new float[outputs];
        fixed (float* e = expectedBias) ReferenceGemm.ColumnSum(y.Pointer, strideY, outputs, ranges, starts, e);
        foreach (int threads in (int[])[1, 2, 3, 5, 8, 16])
        {
            using var pool = new KernelPool(threads);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                for (int r = 0; r < outputs; r++) new Span<float>(w.Pointer + (r * strideW), inputs).Fill(99);
                SegmentedGemm.WeightGradient(y.Pointer, strideY, x.Pointer, strideX, outputs, inputs, ranges, starts, w.Pointer, strideW, pool);
                TestData.AssertSameBits(expected, w.Span, $"{leaves} at {level} on {threads} threads");
                using var b = new BoundedMemory(outputs);
                SegmentedGemm.WeightGradient(y.Pointer, strideY, x.Pointer, strideX, outputs, inputs, ranges, starts, w.Pointer, strideW, pool, b.Pointer);
                TestData.AssertSameBits(expected, w.Span, $"{leaves} at {level} on {threads} threads, with a bias");
                TestData.AssertSameBits(expectedBias, b.Span, $"the bias, {leaves} at {level} on {threads} threads");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void RoundedWeightGradient_LeavesAndTree_RoundsEveryNode(int outputs, int inputs, string leaves)
    {
        var (ranges, starts, rows) = TestData.Leaves(leaves);
        int strideY = outputs + 2, strideX = inputs + 1, strideW = inputs + 5;
        using var y = Memory(rows, outputs, strideY, 1);
        using var x = Memory(rows, inputs, strideX, 2);
        var apart = new float[starts.Length - 1][];
        for (int leaf = 0; leaf < apart.Length; leaf++)
        {
            KRange[] own = ranges[starts[leaf]..starts[leaf + 1]];
            apart[leaf] = new float[outputs * inputs];
            fixed (float* e = apart[leaf])
                ReferenceGemm.WeightGradient(y.Pointer, strideY, x.Pointer, strideX, outputs, inputs, own, [0, own.Length], e, inputs);
        }

        foreach (FloatFormat format in (FloatFormat[])[FloatFormat.BFloat16, FloatFormat.Float16])
        {
            var expected = new float[outputs * inputs];
            for (int i = 0; i < expected.Length; i++) expected[i] = Node(0, apart.Length, i);
            float Node(int lo, int hi, int i)
            {
                if (hi - lo == 1) return ReferenceFormats.Round(apart[lo][i], format);
                int split = lo + (int)BitOperations.RoundUpToPowerOf2((uint)(hi - lo)) / 2;
                return ReferenceFormats.Round(Node(lo, split, i) + Node(split, hi, i), format);
            }

            // Two values to a float: what lies behind the last row must stay.
            int values = ((outputs - 1) * strideW) + inputs;
            using var packed = new NativeBuffer((values + 1) / 2);
            using var wide = new NativeBuffer(values);
            foreach (int threads in (int[])[1, 3])
            {
                using var pool = new KernelPool(threads);
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    new Span<ushort>(packed.Pointer, values).Fill(0x4049);
                    Assert.True(SegmentedGemm.TryRoundedWeightGradient(
                        y.Pointer, strideY, x.Pointer, strideX, outputs, inputs, ranges, starts, format, packed.Pointer, strideW, pool));
                    Precisions.ToFloat32(packed.Pointer, format, wide.Pointer, values);
                    for (int r = 0; r < outputs; r++)
                    {
                        TestData.AssertSameBits(
                            expected.AsSpan(r * inputs, inputs), wide.Span.Slice(r * strideW, inputs), $"row {r} of {leaves} in {format} at {level} on {threads} threads");
                        if (r == outputs - 1) continue;
                        foreach (ushort between in new Span<ushort>((ushort*)packed.Pointer + (r * strideW) + inputs, strideW - inputs)) Assert.Equal(0x4049, between);
                    }
                }
            }
        }
    }

    // Aligned, too: with AVX-512 it is written past the caches, but for its ends.
    [Fact]
    public void WeightGradient_LargerThanTheCaches_EqualsReference()
    {
        const int Outputs = 1037, Inputs = 2064;
        var (ranges, starts, rows) = TestData.Leaves("2 2 1 1");
        using var y = Memory(rows, Outputs, Outputs, 1);
        using var x = Memory(rows, Inputs, Inputs, 2);
        using var w = new NativeBuffer(Outputs * Inputs);
        var expected = new float[Outputs * Inputs];
        fixed (float* e = expected) ReferenceGemm.WeightGradient(y.Pointer, Outputs, x.Pointer, Inputs, Outputs, Inputs, ranges, starts, e, Inputs);
        using var pool = new KernelPool(2);
        w.Span.Fill(99);
        SegmentedGemm.WeightGradient(y.Pointer, Outputs, x.Pointer, Inputs, Outputs, Inputs, ranges, starts, w.Pointer, Inputs, pool);
        TestData.AssertSameBits(expected, w.Span, "aligned");
    }

    [Fact]
    public void RoundedWeightGradient_DeepLeaves_AreLeftToBeComputedApart()
    {
        KRange[] ranges = [new(0, 500), new(500, 500)];
        using var buffer = new NativeBuffer(1000 * 32);
        float* p = buffer.Pointer;
        Assert.False(SegmentedGemm.TryRoundedWeightGradient(p, 4, p + 8_000, 8, 4, 8, ranges, [0, 1, 2], FloatFormat.BFloat16, p + 20_000, 8));
        Assert.Throws<ArgumentOutOfRangeException>(() => SegmentedGemm.TryRoundedWeightGradient(p, 4, p + 8_000, 8, 4, 8, ranges, [0, 1, 2], FloatFormat.Float32, p + 20_000, 8));
        Assert.Throws<ArgumentException>(() => SegmentedGemm.TryRoundedWeightGradient(p, 4, p + 8_000, 8, 4, 8, ranges, [0, 1], FloatFormat.BFloat16, p + 20_000, 8));
        Assert.Throws<ArgumentException>(() => SegmentedGemm.TryRoundedWeightGradient(p, 4, p + 8_000, 8, 4, 8, ranges, [0, 1, 2], FloatFormat.BFloat16, p + 3_990, 8));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void ColumnSum_LeavesAndTree_EqualsReference(int outputs, int inputs, string leaves)
    {
        _ = inputs;
        var (ranges, starts, rows) = TestData.Leaves(leaves);
        using var y = Memory(rows, outputs, outputs + 2, 1);
        using var b = new BoundedMemory(outputs);
        float[] expected = new float[outputs];
        fixed (float* e = expected) ReferenceGemm.ColumnSum(y.Pointer, outputs + 2, outputs, ranges, starts, e);
        foreach (SimdLevel level in TestData.Levels)
        {
            using var forced = SimdPath.Force(level);
            SegmentedGemm.ColumnSum(y.Pointer, outputs + 2, outputs, ranges, starts, b.Pointer);
            TestData.AssertSameBits(expected, b.Span, $"{leaves} at {level}");
        }
    }

    [Theory]
    [InlineData(8)]
    [InlineData(7)]
    [InlineData(5)]
    public void WeightGradient_WorkersJoinedAlongTheTree_EqualsOneWorker(int leaves)
    {
        const int Outputs = 14, Inputs = 40, PerLeaf = 3;
        int rows = leaves * PerLeaf;
        float[] y = TestData.Random(rows * Outputs, 1), x = TestData.Random(rows * Inputs, 2);
        float[] Part(int lo, int hi)
        {
            var dw = new float[Outputs * Inputs];
            KRange[] ranges = [.. Enumerable.Range(lo, hi - lo).Select(i => new KRange(i * PerLeaf, PerLeaf))];
            fixed (float* py = y, px = x, pw = dw)
                SegmentedGemm.WeightGradient(py, Outputs, px, Inputs, Outputs, Inputs, ranges, [.. Enumerable.Range(0, hi - lo + 1)], pw, Inputs);
            return dw;
        }

        float[] left = Part(0, 4), right = Part(4, leaves);
        fixed (float* l = left, r = right) Elementwise.Add(l, r, l, left.Length);
        TestData.AssertSameBits(Part(0, leaves), left, "two workers");
    }

    // A product too small for any float leaves the sign of its zero behind, as a chain that begins at +0 does.
    [Theory]
    [InlineData("2 1 3 1")]
    [InlineData("2 2 1 1")]
    public void WeightGradient_ProductsThatUnderflow_HasTheReferencesZeros(string leaves)
    {
        const int Outputs = 13, Inputs = 37;
        var (ranges, starts, rows) = TestData.Leaves(leaves);
        using var y = Memory(rows, Outputs, Outputs, 1);
        using var x = Memory(rows, Inputs, Inputs, 2);
        using var w = new BoundedMemory(Outputs * Inputs);
        for (int i = 0; i < y.Span.Length; i++) y.Span[i] = i % Outputs % 3 == 0 ? -1e-30f : 1e-30f;
        for (int i = 0; i < x.Span.Length; i++) x.Span[i] = i % Inputs % 5 == 0 ? -1e-30f : 1e-30f;
        float[] expected = new float[Outputs * Inputs];
        fixed (float* e = expected) ReferenceGemm.WeightGradient(y.Pointer, Outputs, x.Pointer, Inputs, Outputs, Inputs, ranges, starts, e, Inputs);
        Assert.Contains(expected, v => BitConverter.SingleToInt32Bits(v) == int.MinValue);
        foreach (SimdLevel level in TestData.Levels)
        {
            using var forced = SimdPath.Force(level);
            SegmentedGemm.WeightGradient(y.Pointer, Outputs, x.Pointer, Inputs, Outputs, Inputs, ranges, starts, w.Pointer, Inputs);
            TestData.AssertSameBits(expected, w.Span, $"underflow of {leaves} at {level}");
        }
    }

    [Fact]
    public void WeightGradient_BadLeaves_Throws()
    {
        using var buffer = new NativeBuffer(64);
        float* p = buffer.Pointer;
        KRange[] ranges = [new(0, 2), new(-1, 2)];
        Assert.Throws<ArgumentException>(() => SegmentedGemm.WeightGradient(p, 2, p + 8, 2, 2, 2, ranges, [0, 1], p + 16, 2));
        Assert.Throws<ArgumentException>(() => SegmentedGemm.WeightGradient(p, 2, p + 8, 2, 2, 2, ranges, [0, 2], p + 16, 2));
        Assert.Throws<ArgumentException>(() => SegmentedGemm.WeightGradient(p, 2, p + 8, 2, 2, 2, ranges, [0], p + 16, 2));
    }

    private static BoundedMemory Memory(int rows, int columns, int stride, int seed)
    {
        var memory = new BoundedMemory(((rows - 1) * stride) + columns);
        TestData.Fill(memory.Span, seed);
        return memory;
    }
}
