using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

/// <summary>int8 and top-k blocks against their naive forms, at every width.</summary>
public unsafe class CompressionTests
{
    private static readonly KeyedRandom Key = new(0x1234567890ABCDEF, 0x51001002);

    public static TheoryData<int> Lengths() => new([.. Enumerable.Range(0, 257), 4080, 4095, 4096, 4097, 8192, 9000]);

    [Theory]
    [MemberData(nameof(Lengths))]
    public void Int8_AtAPageEnd_GivesTheReferencesBits(int length)
    {
        foreach (float[] values in (float[][])[TestData.Random(length, length), TestData.Awkward(length, 3), Scaled(length, 1e-38f), Scaled(length, 1e-43f), Scaled(length, 1e37f), new float[length]])
        {
            (float[] scales, sbyte[] integers) = ReferenceInt8.Quantise(Key, 1L << 33, 70, values);
            float[] expected = [.. integers.Select((q, i) => ReferenceInt8.Value(scales[i / Int8Blocks.Block], q))];
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                using var x = new BoundedMemory(length);
                using var packed = new BoundedMemory((int)Int8Blocks.Words(length));
                values.CopyTo(x.Span);
                Int8Blocks.Quantise(Key, 1L << 33, 70, x.Pointer, length, packed.Pointer);
                AssertPacked(scales, integers, packed);
                TestData.AssertSameBits(values, x.Span, "the values are left alone");
                Int8Blocks.Round(Key, 1L << 33, 70, x.Pointer, length);
                TestData.AssertSameBits(expected, x.Span, $"rounded at {level}");
                x.Span.Clear();
                Int8Blocks.Dequantise(packed.Pointer, x.Pointer, length);
                TestData.AssertSameBits(expected, x.Span, $"unpacked at {level}");
            }
        }
    }

    [Fact]
    public void Int8_OverManySteps_IsRightInTheMean()
    {
        float[] x = [1f, .. Enumerable.Range(0, 63).Select(i => i / 1000f)];
        double[] sums = new double[x.Length];
        const int Steps = 4000;
        for (ulong step = 0; step < Steps; step++)
        {
            (float[] scales, sbyte[] integers) = ReferenceInt8.Quantise(Key, step, 0, x);
            for (int i = 0; i < x.Length; i++) sums[i] += ReferenceInt8.Value(scales[0], integers[i]);
        }

        // The deviation of one rounding is at most half a step of 1/127.
        for (int i = 0; i < x.Length; i++) Assert.Equal(x[i], sums[i] / Steps, 5 * (0.5 / 127) / Math.Sqrt(Steps));
    }

    [Fact]
    public void Int8_BlocksStepsAndNodes_AreRoundedApart()
    {
        float[] x = [.. Enumerable.Range(0, 8192).Select(i => ((i & 4095) + 0.5f) / 4096)];
        sbyte[] one = ReferenceInt8.Quantise(Key, 5, 0, x).Integers;
        Assert.NotEqual(one[..4096], one[4096..]);
        Assert.NotEqual(one, ReferenceInt8.Quantise(Key, 6, 0, x).Integers);
        Assert.NotEqual(one, ReferenceInt8.Quantise(Key with { Purpose = Key.Purpose + 1 }, 5, 0, x).Integers);
        Assert.Equal(one[4096..], ReferenceInt8.Quantise(Key, 5, 1, x.AsSpan(4096)).Integers);
    }

    [Fact]
    public void Int8_OneValueNotFinite_ShowsInItsWholeBlock()
    {
        foreach (float odd in (float[])[float.NaN, float.PositiveInfinity, float.NegativeInfinity])
        {
            float[] x = TestData.Random(8192, 2);
            x[5000] = odd;
            fixed (float* p = x) Int8Blocks.Round(Key, 0, 0, p, x.Length);
            Assert.True(Array.TrueForAll(x[..4096], float.IsFinite));
            Assert.True(Array.TrueForAll(x[4096..], float.IsNaN));
        }
    }

    [Theory]
    [MemberData(nameof(Lengths))]
    public void TopK_AtAPageEnd_GivesTheReferencesBits(int length)
    {
        foreach (double fraction in (double[])[1e-6, 0.01, 0.3, 0.5, 1])
        {
            foreach (float[] values in (float[][])[TestData.Random(length, length), TestData.Awkward(length, 3), Ties(length), new float[length]])
            {
                float[] before = Scaled(length, 0.5f);
                float[] held = [.. before];
                float[] expected = ReferenceTopK.Select(fraction, values, held);
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    using var x = new BoundedMemory(length);
                    using var y = new BoundedMemory(length);
                    using var packed = new BoundedMemory((int)TopKBlocks.Words(fraction, length));
                    values.CopyTo(x.Span);
                    before.CopyTo(y.Span);
                    packed.Span.Fill(77);
                    TopKBlocks.Select(fraction, x.Pointer, y.Pointer, length, packed.Pointer);
                    TestData.AssertSameBits(held, y.Span, $"held back of {fraction} at {level}");
                    Assert.True(TopKBlocks.Expand(fraction, packed.Pointer, x.Pointer, length));
                    TestData.AssertSameBits(expected, x.Span, $"{fraction} at {level}");
                }
            }
        }
    }

    [Fact]
    public void TopK_IndexOutsideItsBlock_IsRefused()
    {
        float[] x = TestData.Random(64, 1), y = new float[64], packed = new float[(int)TopKBlocks.Words(0.05, 64)];
        fixed (float* px = x, py = y, pp = packed)
        {
            TopKBlocks.Select(0.05, px, py, 64, pp);
            Assert.True(TopKBlocks.Expand(0.05, pp, px, 64));
            ((ushort*)(pp + TopKBlocks.Count(0.05, 64)))[0] = 64;
            Assert.False(TopKBlocks.Expand(0.05, pp, px, 64));
        }
    }

    [Theory]
    [InlineData(0, 0, 0)]
    [InlineData(16, 5, 2)]
    [InlineData(4096, 1025, 62)]
    [InlineData(4112, 1030, 64)]
    public void Words_OfABlockFormat_CountScalesAndIndices(int length, int int8, int topK)
    {
        Assert.Equal(int8, Int8Blocks.Words(length));
        Assert.Equal(topK, TopKBlocks.Words(0.01, length));
    }

    private static void AssertPacked(float[] scales, sbyte[] integers, BoundedMemory packed)
    {
        byte* at = (byte*)packed.Pointer;
        for (int block = 0; block < scales.Length; block++)
        {
            TestData.AssertSameBits([scales[block]], [*(float*)at], "the scale");
            int count = Math.Min(Int8Blocks.Block, integers.Length - (block * Int8Blocks.Block));
            Assert.True(integers.AsSpan(block * Int8Blocks.Block, count).SequenceEqual(new ReadOnlySpan<sbyte>(at + 4, count)));
            at += 4 + ((count + 3) / 4 * 4);
        }
    }

    private static float[] Scaled(int length, float by) => [.. TestData.Random(length, 9).Select(v => v * by)];

    private static float[] Ties(int length) => [.. Enumerable.Range(0, length).Select(i => (i % 5) - 2f)];
}
