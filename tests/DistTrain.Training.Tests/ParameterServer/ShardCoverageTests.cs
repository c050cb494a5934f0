using DistTrain.Core.Sharding;
using DistTrain.Training.ParameterServer;

namespace DistTrain.Training.Tests.ParameterServer;

public class ShardCoverageTests
{
    // Over word ends and around the ring, against a set.
    [Theory]
    [InlineData(1)]
    [InlineData(8)]
    [InlineData(64)]
    [InlineData(65)]
    [InlineData(130)]
    public void AnyOrder_EqualsASet(int shards)
    {
        const int window = 4;
        var random = new Random(shards);
        var coverage = new ShardCoverage(shards, window, 5);
        var there = new HashSet<(long Step, int Shard)>();
        long version = 5;
        for (int i = 0; i < 30_000; i++)
        {
            long step = version + random.Next(-1, window + 1);
            int lo = random.Next(shards), hi = Math.Min(shards, lo + 1 + (random.Next(4) == 0 ? random.Next(shards) : 0));
            bool expected = step >= version && step < version + window && Enumerable.Range(lo, hi - lo).All(s => !there.Contains((step, s)));
            Assert.Equal(expected, coverage.Lacks(step, new ShardRange(lo, hi)));
            if (!expected) continue;
            for (int s = lo; s < hi; s++) there.Add((step, s));
            long before = version;
            while (Enumerable.Range(0, shards).All(s => there.Contains((version, s)))) version++;
            Assert.Equal(version > before, coverage.Add(step, new ShardRange(lo, hi)));
            Assert.Equal(version, coverage.Version);
        }

        Assert.True(version > 5 + window, $"only {version}");
    }
}
