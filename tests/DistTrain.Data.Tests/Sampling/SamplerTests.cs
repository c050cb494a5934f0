using DistTrain.Core.Sharding;

namespace DistTrain.Data.Tests.Sampling;

public class SamplerTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(10, 3)]
    [InlineData(12, 4)]
    [InlineData(5, 8)]
    [InlineData(1437, 64)]
    public void At_EveryStepOfThreeEpochs_CoversEachExampleOncePerEpoch(int count, int batch)
    {
        var sampler = new Sampler(count, batch, seed: 1);
        Assert.Equal((count + batch - 1) / batch, sampler.StepsPerEpoch);
        for (int epoch = 0; epoch < 3; epoch++)
        {
            var seen = new HashSet<long>();
            for (long i = 0; i < sampler.StepsPerEpoch; i++)
            {
                MiniBatch at = sampler.At(epoch * sampler.StepsPerEpoch + i);
                Assert.Equal(new MiniBatch(epoch, i, i * batch, (int)Math.Min(batch, count - i * batch)), at);
                long[] examples = new long[at.Size];
                sampler.Fill(at, 0, examples);
                foreach (long example in examples) Assert.True(seen.Add(example));
                for (int k = 0; k < at.Size; k++) Assert.Equal(sampler.Example(at.Epoch, at.Start + k), examples[k]);
            }

            Assert.Equal(count, seen.Count);
            Assert.InRange(seen.Max(), 0, count - 1);
        }
    }

    [Theory]
    [InlineData(13, 8)]
    [InlineData(3, 8)]
    [InlineData(64, 5)]
    public void Fill_ShardByShard_IsTheWholeMiniBatch(int size, int shards)
    {
        var sampler = new Sampler(size + 20, size, seed: 4);
        MiniBatch batch = sampler.At(0);
        long[] whole = new long[size];
        sampler.Fill(batch, 0, whole);
        var pieces = new List<long>();
        for (int s = 0; s < shards; s++)
        {
            (long start, long end) = ShardSlice.Of(size, shards, s);
            long[] piece = new long[end - start];
            sampler.Fill(batch, (int)start, piece);
            pieces.AddRange(piece);
        }

        Assert.Equal(whole, pieces);
    }

    [Fact]
    public void Fill_BeyondTheMiniBatch_Throws()
    {
        var sampler = new Sampler(10, 4, seed: 1);
        MiniBatch last = sampler.At(2);
        Assert.Equal(2, last.Size);
        Assert.Throws<ArgumentOutOfRangeException>(() => sampler.Fill(last, 1, new long[2]));
        Assert.Throws<ArgumentOutOfRangeException>(() => sampler.Fill(last, -1, new long[1]));
    }

    [Fact]
    public void Fill_NotShuffled_Ascends()
    {
        var sampler = new Sampler(10, 4, seed: 1, shuffle: false);
        long[] examples = new long[2];
        sampler.Fill(sampler.At(2), 0, examples);
        Assert.Equal([8, 9], examples);
        Assert.Equal(7, sampler.Example(3, 7));
    }

    [Fact]
    public void Fill_SteadyState_AllocatesNothing()
    {
        var sampler = new Sampler(1437, 64, seed: 1);
        long[] examples = new long[64];
        sampler.Fill(sampler.At(0), 0, examples);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int step = 0; step < 20; step++) sampler.Fill(sampler.At(step), 0, examples);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 0)]
    public void Constructor_NothingToSample_Throws(int count, int batch) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => new Sampler(count, batch, seed: 1));
}
