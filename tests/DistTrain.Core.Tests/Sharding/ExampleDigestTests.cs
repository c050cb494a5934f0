using DistTrain.Core.Sharding;

namespace DistTrain.Core.Tests.Sharding;

public sealed class ExampleDigestTests
{
    // SplitMix64's first outputs from these states, as its authors' code gives them.
    [Theory]
    [InlineData(0, 0xE220A8397B1DCDAF)]
    [InlineData(1234567, 0x599ED017FB08FC85)]
    public void Of_OneExample_IsSplitMix64(long example, ulong expected) => Assert.Equal(expected, ExampleDigest.Of([example]));

    [Fact]
    public void Of_Parts_AddUpInAnyOrder() =>
        Assert.Equal(ExampleDigest.Of([3, 1, 4, 1, 5]), ExampleDigest.Of([1, 5, 1]) + ExampleDigest.Of([]) + ExampleDigest.Of([4, 3]));

    [Theory]
    [InlineData(new long[] { 1, 2, 4 })]
    [InlineData(new long[] { 1, 2 })]
    [InlineData(new long[] { 1, 2, 3, 3 })]
    [InlineData(new long[] { 1, 1, 4 })]
    [InlineData(new long[] { 0, 1, 2, 3 })]
    public void Of_OtherExamples_IsAnotherDigest(long[] examples) => Assert.NotEqual(ExampleDigest.Of([1, 2, 3]), ExampleDigest.Of(examples));

    [Fact]
    public void Join_Stats_AddsDigests() =>
        Assert.Equal(12UL, SegmentStats.Join(new SegmentStats(1, 1, 1, 1, 1) { ExampleDigest = 5 }, new SegmentStats(1, 1, 1, 1, 1) { ExampleDigest = 7 }).ExampleDigest);
}
