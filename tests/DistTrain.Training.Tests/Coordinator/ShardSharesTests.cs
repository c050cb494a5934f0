using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

public class ShardSharesTests
{
    [Theory]
    [InlineData(8, 1)]
    [InlineData(8, 2)]
    [InlineData(8, 8)]
    [InlineData(6, 3)]
    public void Doubt_EvenShares_Nothing(int shards, int workers) => Assert.Null(ShardShares.Doubt(shards, workers));

    [Fact]
    public void Doubt_UnevenShares_SaysTheCostAndTheCure()
    {
        string doubt = ShardShares.Doubt(8, 3)!;
        Assert.Contains("some have 3", doubt, StringComparison.Ordinal);
        // 3 of 8 shards instead of 8/3 of them.
        Assert.Contains("13", doubt, StringComparison.Ordinal);
        Assert.Contains("batch.shards: 9", doubt, StringComparison.Ordinal);
    }

    [Fact]
    public void Doubt_MoreWorkersThanShards_SaysWhoIsIdle()
    {
        string doubt = ShardShares.Doubt(4, 6)!;
        Assert.Contains("2 of them idle", doubt, StringComparison.Ordinal);
        Assert.Contains("batch.shards: 6", doubt, StringComparison.Ordinal);
    }
}
