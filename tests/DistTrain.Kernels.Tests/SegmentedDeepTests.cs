using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class SegmentedDeepTests
{
    [Theory]
    [InlineData(13, 35, "200+100 300 150")]
    [InlineData(200, 3, "600+500+11")]
    [InlineData(5, 70, "1100 0 0+3 700 20 531+530")]
    [InlineData(970, 1, "400 150")]
    public void WeightGradient_DeepLeaves_EqualsReference(int outputs, int inputs, string leaves)
    {
        var (ranges, starts, rows) = LeafLists.Parse(leaves);
        int strideY = outputs + 2, strideX = inputs + 1, strideW = inputs + 5;
        using var y = new BoundedMemory(((rows - 1) * strideY) + outputs);
        using var x = new BoundedMemory(((rows - 1) * strideX) + inputs);
        using var w = new BoundedMemory(((outputs - 1) * strideW) + inputs);
        TestData.Fill(y.Span, 1);
        TestData.Fill(x.Span, 2);
        float[] expected = new float[w.Length];
        fixed (float* e = expected)
            ReferenceGemm.WeightGradient(y.Pointer, strideY, x.Pointer, strideX, outputs, inputs, ranges, starts, e, strideW);
        float[] expectedBias = new float[outputs];
        fixed (float* e = expectedBias) ReferenceGemm.ColumnSum(y.Pointer, strideY, outputs, ranges, starts, e);
        using var b = new BoundedMemory(outputs);
        foreach (int threads in (int[])[1, 2, 3, 5, 8, 16])
        {
            using var pool = new KernelPool(threads);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                using var db = new BoundedMemory(outputs);
                w.Span.Clear();
                SegmentedGemm.WeightGradient(y.Pointer, strideY, x.Pointer, strideX, outputs, inputs, ranges, starts, w.Pointer, strideW, pool, db.Pointer);
                TestData.AssertSameBits(expected, w.Span, $"{leaves} at {level} on {threads} threads");
                w.Span.Clear();
                SegmentedGemm.WeightGradient(y.Pointer, strideY, x.Pointer, strideX, outputs, inputs, ranges, starts, w.Pointer, strideW, pool, b.Pointer);
                TestData.AssertSameBits(expected, w.Span, $"{leaves} at {level} on {threads} threads, with a bias");
                TestData.AssertSameBits(expectedBias, b.Span, $"the bias, {leaves} at {level} on {threads} threads");
            }
        }
    }
}
