namespace DistTrain.Kernels.Tests;

public unsafe class RoundedJoinTests
{
    [Theory]
    [InlineData(FloatFormat.BFloat16)]
    [InlineData(FloatFormat.Float16)]
    public void Sum_CountsFormatsAndLevels_RoundsEveryNodeOfTheTree(FloatFormat node)
    {
        using var pool = new KernelPool(3);
        foreach (int count in (int[])[1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 41])
        {
            foreach (int length in (int[])[0, 1, 15, 16, 17, 100, 1025, 70_003])
            {
                if (length > 2_000 && count is not (8 or 17)) continue;
                foreach (FloatFormat format in (FloatFormat[])[FloatFormat.Float32, node])
                {
                    using var segments = new Segments(count, length, format);
                    float[] expected = segments.RoundedSum(node);
                    using var sum = new NativeBuffer(Math.Max(1, length));
                    using var wide = new NativeBuffer(Math.Max(1, length));
                    foreach (SimdLevel level in TestData.Levels)
                    {
                        using var forced = SimdPath.Force(level);
                        sum.Span.Fill(7);
                        RoundedJoin.Sum(segments.Pointers, count, format, node, sum.Pointer, FloatFormat.Float32, length, pool);
                        TestData.AssertSameBits(expected, sum.Span[..length], $"{count} segments of {length} in {format} at {level}");
                        RoundedJoin.Sum(segments.Pointers, count, format, node, sum.Pointer, node, length, pool);
                        Precisions.ToFloat32(sum.Pointer, node, wide.Pointer, length);
                        TestData.AssertSameBits(expected, wide.Span[..length], $"{count} segments of {length} in {format} packed at {level}");
                    }
                }
            }
        }
    }

    [Fact]
    public void Sum_IntoOneOfTheSegments_RoundsEveryNodeOfTheTree()
    {
        foreach (int count in (int[])[2, 3, 11])
        {
            using var segments = new Segments(count, 1_000, FloatFormat.BFloat16);
            float[] expected = segments.RoundedSum(FloatFormat.BFloat16);
            void* target = segments.Pointers[count - 1];
            RoundedJoin.Sum(segments.Pointers, count, FloatFormat.BFloat16, FloatFormat.BFloat16, target, FloatFormat.BFloat16, 1_000);
            using var wide = new NativeBuffer(1_000);
            Precisions.ToFloat32(target, FloatFormat.BFloat16, wide.Pointer, 1_000);
            TestData.AssertSameBits(expected, wide.Span, $"{count} segments in place");
        }
    }

    [Fact]
    public void Sum_BadArguments_Throws()
    {
        using var x = new NativeBuffer(64);
        void** segments = stackalloc void*[] { x.Pointer, x.Pointer + 8 };
        nint at = (nint)segments;
        float* p = x.Pointer;
        Assert.Throws<ArgumentOutOfRangeException>(() => RoundedJoin.Sum((void**)at, 0, FloatFormat.Float32, FloatFormat.Float16, p + 32, FloatFormat.Float32, 16));
        Assert.Throws<ArgumentOutOfRangeException>(() => RoundedJoin.Sum((void**)at, 1, FloatFormat.Float32, FloatFormat.Float32, p + 32, FloatFormat.Float32, 16));
        Assert.Throws<ArgumentOutOfRangeException>(() => RoundedJoin.Sum((void**)at, 1, FloatFormat.BFloat16, FloatFormat.Float16, p + 32, FloatFormat.Float32, 16));
        Assert.Throws<ArgumentOutOfRangeException>(() => RoundedJoin.Sum((void**)at, 1, FloatFormat.Float32, FloatFormat.Float16, p + 32, FloatFormat.BFloat16, 16));
        Assert.Throws<ArgumentException>(() => RoundedJoin.Sum((void**)at, 1, FloatFormat.Float16, FloatFormat.Float16, p, FloatFormat.Float32, 16));
    }
}
