namespace DistTrain.Kernels.Tests;

public unsafe class KeyedRandomTests
{
    // The known answers that Random123 publishes for philox4x32-10.
    [Theory]
    [InlineData(0u, 0u, 0u, 0u, 0u, 0u, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [InlineData(~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [InlineData(
        0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0xa4093822u, 0x299f31d0u, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void Block_KnownCounterAndKey_GivesThePublishedWords(
        uint c0, uint c1, uint c2, uint c3, uint k0, uint k1, uint w0, uint w1, uint w2, uint w3)
    {
        var random = new KeyedRandom(((ulong)k1 << 32) | k0, c3);
        Assert.Equal(new KeyedRandom.Words(w0, w1, w2, w3), random.Block(((ulong)c2 << 32) | c1, c0));
    }

    [Fact]
    public void Fill_CutAnywhere_GivesTheSameBits()
    {
        var random = new KeyedRandom(42, 1);
        float[] whole = new float[97], parts = new float[97];
        fixed (float* w = whole, p = parts)
        {
            random.FillNormal(3, 10, w, 97, 1, 2);
            random.FillNormal(3, 10, p, 13, 1, 2);
            random.FillNormal(3, 23, p + 13, 84, 1, 2);
            TestData.AssertSameBits(whole, parts, "normal");
            random.FillUniform(3, 10, w, 97, -1, 1);
            random.FillUniform(3, 10, p, 30, -1, 1);
            random.FillUniform(3, 40, p + 30, 67, -1, 1);
            TestData.AssertSameBits(whole, parts, "uniform");
        }
        Assert.Equal(MathF.FusedMultiplyAdd(random.Uniform(3, 12), 2, -1), whole[2]);
    }

    [Fact]
    public void Streams_DifferInSeedPurposeStepAndElement()
    {
        var seen = new HashSet<uint>
        {
            new KeyedRandom(1, 1).Bits(1, 1), new KeyedRandom(2, 1).Bits(1, 1), new KeyedRandom(1, 2).Bits(1, 1),
            new KeyedRandom(1, 1).Bits(2, 1), new KeyedRandom(1, 1).Bits(1, 2), new KeyedRandom(1UL << 32, 1).Bits(1, 1),
        };
        Assert.Equal(6, seen.Count);
    }

    [Fact]
    public void Normals_ManyOfThem_HaveMeanZeroAndVarianceOne()
    {
        const int Count = 100_000;
        var x = new float[Count];
        fixed (float* p = x) new KeyedRandom(9, 9).FillNormal(0, 0, p, Count, 0, 1);
        double mean = x.Average(v => (double)v);
        double variance = x.Average(v => (double)v * v) - (mean * mean);
        Assert.InRange(mean, -0.015, 0.015);
        Assert.InRange(variance, 0.98, 1.02);
        Assert.InRange(x.Count(v => v > 1.959964f) / (double)Count, 0.023, 0.027);
    }

    [Fact]
    public void Uniforms_ManyOfThem_FillTheUnitInterval()
    {
        const int Count = 100_000;
        var x = new float[Count];
        fixed (float* p = x) new KeyedRandom(9, 8).FillUniform(0, 0, p, Count, 0, 1);
        Assert.All(x, v => Assert.InRange(v, 0f, 0.99999994f));
        for (int tenth = 0; tenth < 10; tenth++) Assert.InRange(x.Count(v => (int)(v * 10) == tenth), 9_600, 10_400);
    }
}
