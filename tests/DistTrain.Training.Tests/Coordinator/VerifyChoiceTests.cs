using System.Collections.Immutable;
using DistTrain.Core.Sharding;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

public class VerifyChoiceTests
{
    private const int Steps = 20_000;

    [Theory]
    [InlineData(0.01, 8, 2)]
    [InlineData(0.01, 8, 4)]
    [InlineData(0.3, 8, 2)]
    [InlineData(0.3, 16, 3)]
    [InlineData(0.001, 32, 8)]
    [InlineData(0.5, 6, 3)]
    public void Choice_OverManySteps_IsTheFraction(double fraction, int shards, int workers)
    {
        List<ShardRange> shares = [.. Enumerable.Range(0, workers).Select(w => ShardSlice.ForWorker(shards, workers, w))];
        int count = VerifyChoice.PerWorker(fraction, shards, workers);
        long chosen = 0;
        var seen = new HashSet<int>();
        for (long step = 0; step < Steps; step++)
        {
            if (!VerifyChoice.IsChosen(7, step, fraction, shards, workers)) continue;
            ImmutableArray<ImmutableArray<int>> again = VerifyChoice.Again(7, step, count, shares);
            for (int w = 0; w < workers; w++)
            {
                Assert.DoesNotContain(again[w], s => s >= shares[w].Lo && s < shares[w].Hi);
                Assert.Equal(again[w].Order(), again[w].AsEnumerable());
            }

            int[] all = [.. again.SelectMany(a => a)];
            Assert.Equal(all.Length, all.Distinct().Count());
            seen.UnionWith(all);
            chosen += all.Length;
        }

        Assert.InRange(chosen / (double)(Steps * shards), 0.85 * fraction, 1.15 * fraction);
        if (fraction > 0.005) Assert.Equal(shards, seen.Count);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(5)]
    public void Choice_OfAll_IsAllShardsOfEachStep(int workers)
    {
        List<ShardRange> shares = [.. Enumerable.Range(0, workers).Select(w => ShardSlice.ForWorker(8, workers, w))];
        for (long step = 0; step < 100; step++)
        {
            Assert.True(VerifyChoice.IsChosen(1, step, 1, 8, workers));
            Assert.Equal(Enumerable.Range(0, 8), VerifyChoice.Again(1, step, VerifyChoice.PerWorker(1, 8, workers), shares).SelectMany(a => a).Order());
        }
    }

    [Fact]
    public void Choice_WithOneWorkerOrNone_IsNothing()
    {
        Assert.False(VerifyChoice.IsChosen(1, 0, 1, 8, 1));
        Assert.False(VerifyChoice.IsChosen(1, 0, 1, 8, 0));
        Assert.False(VerifyChoice.IsChosen(1, 0, 0, 8, 2));
    }

    // More workers than shards: some have none to be computed again.
    [Fact]
    public void Choice_WithIdleWorkers_LeavesThemOut()
    {
        List<ShardRange> shares = [.. Enumerable.Range(0, 4).Select(w => ShardSlice.ForWorker(2, 4, w))];
        Assert.Equal([0, 1], VerifyChoice.Again(1, 3, 2, shares).SelectMany(a => a).Order());
    }
}
