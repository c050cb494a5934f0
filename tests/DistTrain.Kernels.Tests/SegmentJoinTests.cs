namespace DistTrain.Kernels.Tests;

public unsafe class SegmentJoinTests
{
    [Theory]
    [InlineData(FloatFormat.Float32)]
    [InlineData(FloatFormat.BFloat16)]
    [InlineData(FloatFormat.Float16)]
    public void Sum_CountsLengthsAndLevels_EqualsTheTree(FloatFormat format)
    {
        using var pool = new KernelPool(3);
        foreach (int count in (int[])[1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 25, 41])
        {
            foreach (int length in (int[])[0, 1, 15, 16, 17, 100, 1025, 70_003])
            {
                if (length > 2_000 && count is not (8 or 25)) continue;
                using var segments = new Segments(count, length, format);
                float[] expected = segments.Sum();
                using var sum = new BoundedMemory(length);
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    sum.Span.Fill(7);
                    SegmentJoin.Sum(segments.Pointers, count, format, sum.Pointer, length, pool);
                    TestData.AssertSameBits(expected, sum.Span, $"{count} segments of {length} in {format} at {level}");
                }
            }
        }
    }

    [Fact]
    public void Sum_LargeAndAligned_IsStreamedWithTheSameBits()
    {
        const int Length = (2 << 20) + 5;
        using var segments = new Segments(2, Length, FloatFormat.Float32);
        float[] expected = segments.Sum();
        using var sum = new NativeBuffer(Length);
        using var pool = new KernelPool(2);
        foreach (SimdLevel level in TestData.Levels)
        {
            using var forced = SimdPath.Force(level);
            sum.Clear();
            SegmentJoin.Sum(segments.Pointers, 2, FloatFormat.Float32, sum.Pointer, Length, pool);
            TestData.AssertSameBits(expected, sum.Span, $"at {level}");
        }
    }

    [Fact]
    public void Sum_IntoOneOfTheSegments_EqualsTheTree()
    {
        foreach (int count in (int[])[2, 8, 11])
        {
            using var segments = new Segments(count, 1_000, FloatFormat.Float32);
            float[] expected = segments.Sum();
            float* target = (float*)segments.Pointers[count - 1];
            SegmentJoin.Sum(segments.Pointers, count, FloatFormat.Float32, target, 1_000);
            TestData.AssertSameBits(expected, new Span<float>(target, 1_000), $"{count} segments in place");
        }
    }

    [Fact]
    public void Sum_OfHalvesJoined_EqualsTheWhole()
    {
        using var segments = new Segments(13, 333, FloatFormat.Float32);
        using var left = new NativeBuffer(333);
        using var right = new NativeBuffer(333);
        SegmentJoin.Sum(segments.Pointers, 8, FloatFormat.Float32, left.Pointer, 333);
        SegmentJoin.Sum(segments.Pointers + 8, 5, FloatFormat.Float32, right.Pointer, 333);
        SegmentJoin.Add(left.Pointer, right.Pointer, FloatFormat.Float32, 333);
        TestData.AssertSameBits(segments.Sum(), left.Span, "8 and 5 of 13");
    }

    [Fact]
    public void Add_FormatsAndLengths_EqualsReference()
    {
        foreach (FloatFormat format in Enum.GetValues<FloatFormat>())
        {
            foreach (int length in (int[])[0, 1, 16, 31, 200])
            {
                using var segments = new Segments(1, length, format);
                using var sum = new BoundedMemory(length);
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    TestData.Fill(sum.Span, 5);
                    float[] expected = [.. sum.Span.ToArray().Zip(segments.Sum(), (a, b) => a + b)];
                    SegmentJoin.Add(sum.Pointer, segments.Pointers[0], format, length);
                    TestData.AssertSameBits(expected, sum.Span, $"{format} at {level}");
                }
            }
        }
    }

    [Fact]
    public void Sum_BadArguments_Throws()
    {
        using var x = new NativeBuffer(64);
        void** segments = stackalloc void*[] { x.Pointer, x.Pointer + 8 };
        nint at = (nint)segments;
        float* p = x.Pointer;
        Assert.Throws<ArgumentException>(() => SegmentJoin.Sum((void**)at, 2, FloatFormat.Float32, p, 16));
        Assert.Throws<ArgumentException>(() => SegmentJoin.Sum((void**)at, 1, FloatFormat.BFloat16, p, 16));
        Assert.Throws<ArgumentOutOfRangeException>(() => SegmentJoin.Sum((void**)at, 0, FloatFormat.Float32, p, 16));
    }
}
