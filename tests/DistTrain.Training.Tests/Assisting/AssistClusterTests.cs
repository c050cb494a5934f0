using DistTrain.Core;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Training.Tests.Assisting;

/// <summary>Whole jobs with workers that fall asleep, held to the bits of one worker that doesn't.</summary>
public class AssistClusterTests
{
    private const long Steps = 60;

    /// <summary>What may decide the bits of a job whose steps wait for each other.</summary>
    public enum Way
    {
        Exact,
        BFloat16,
        Int8,
        LocalSgd,
        LocalSgdInInt8,
    }

    [Theory]
    [InlineData(Way.Exact)]
    [InlineData(Way.BFloat16)]
    [InlineData(Way.Int8)]
    [InlineData(Way.LocalSgd)]
    [InlineData(Way.LocalSgdInInt8)]
    public void Worker_ThatSleepsToTheEnd_IsDoneWithout(Way way)
    {
        for (int seed = 0; seed < 10; seed++)
        {
            var random = new Random(seed);
            using var cluster = Cluster(3, way);
            cluster.Run(random, () => cluster.Committed == 10);
            cluster.Workers[seed % 3].Asleep = true;
            int pushed = cluster.Workers[seed % 3].Pushed;
            cluster.Run(random, () => cluster.Outcome is not null);
            Assert.Equal((ExitCode.Done, Steps), (cluster.Outcome!.Exit, cluster.Outcome.Version));
            Assert.Equal(Expected(way), cluster.Weights());
            Assert.Equal(pushed, cluster.Workers[seed % 3].Pushed);
            // It had two or three shards of each step.
            Assert.InRange(cluster.Outcome.AssistedShards, 2 * 40, 3 * 50);
        }
    }

    [Theory]
    [InlineData(Way.Exact)]
    [InlineData(Way.Int8)]
    [InlineData(Way.LocalSgd)]
    [InlineData(Way.LocalSgdInInt8)]
    public void Workers_ThatSleepNowAndThen_LeaveTheSameBits(Way way)
    {
        float[] expected = Expected(way);
        long assisted = 0;
        var seen = new Dictionary<(long Step, int Bucket, ShardRange Shards), float[]>();
        for (int seed = 0; seed < 30; seed++)
        {
            var random = new Random(100 + seed);
            using var cluster = Cluster(4, way, seen);
            // What is usual has to be known first.
            cluster.Run(random, () => cluster.Committed == 5);
            while (cluster.Outcome is null)
            {
                long until = cluster.Committed + random.Next(6);
                int moves = random.Next(60);
                // Anywhere in a step, also where it has pushed a part of it, or has some of the next weights.
                cluster.Run(random, () => cluster.Outcome is not null || (cluster.Committed >= until && moves-- <= 0));
                foreach (AssistCluster.Member worker in cluster.Workers) worker.Asleep = random.Next(4) == 0;
                if (cluster.Workers.TrueForAll(w => w.Asleep)) cluster.Workers[0].Asleep = false;
            }

            assisted += cluster.Outcome.AssistedShards;
            Assert.Equal(expected, cluster.Weights());
        }

        Assert.True(assisted > 0);
    }

    [Fact]
    public void Worker_ThatWokeUp_DoesItsSharesAgain()
    {
        var random = new Random(4);
        using var cluster = Cluster(3, Way.Exact);
        cluster.Run(random, () => cluster.Committed == 7);
        cluster.Workers[1].Asleep = true;
        cluster.Run(random, () => cluster.Committed == 25);
        cluster.Workers[1].Asleep = false;
        int pushed = cluster.Workers[1].Pushed;
        cluster.Run(random, () => cluster.Outcome is not null);
        // An order lasts 32 steps at most; after that nobody else does its shards.
        Assert.True(cluster.Workers[1].Pushed - pushed > 2 * 3, $"{cluster.Workers[1].Pushed - pushed} shards");
        Assert.Equal(Expected(Way.Exact), cluster.Weights());
    }

    // Without rounding, or with: by itself, or by random numbers that the node keys; a step of one mini-batch or of two.
    private static AssistCluster Cluster(int workers, Way way, Dictionary<(long Step, int Bucket, ShardRange Shards), float[]>? seen = null, double verify = 0)
    {
        WireOptions wire = way switch
        {
            Way.BFloat16 => WireOptions.Of(FloatFormat.BFloat16),
            Way.Int8 or Way.LocalSgdInInt8 => new WireOptions(new Int8Format(AssistCluster.Layout, 3), WireFormat.Exact),
            _ => WireOptions.Exact,
        };
        return new AssistCluster(workers, Steps, wire, way is Way.LocalSgd or Way.LocalSgdInInt8 ? 2 : null, verify) { Seen = seen ?? [] };
    }

    // Asleep in the middle of it, too: what isn't told in time is not waited for.
    [Theory]
    [InlineData(Way.Exact, 1)]
    [InlineData(Way.Exact, 0.3)]
    [InlineData(Way.BFloat16, 1)]
    [InlineData(Way.Int8, 1)]
    [InlineData(Way.LocalSgd, 0.3)]
    public void Shards_ComputedTwice_HaveTheSameBitsAndLeaveNoTrace(Way way, double verify)
    {
        float[] expected = Expected(way);
        long verified = 0;
        for (int seed = 0; seed < 10; seed++)
        {
            var random = new Random(seed);
            using var cluster = Cluster(2 + (seed % 3), way, verify: verify);
            while (cluster.Outcome is null)
            {
                int moves = random.Next(400);
                cluster.Run(random, () => cluster.Outcome is not null || moves-- <= 0);
                int asleep = seed < 4 ? -1 : random.Next(2 * cluster.Workers.Count);
                // What is usual has to be known first.
                for (int w = 0; w < cluster.Workers.Count; w++) cluster.Workers[w].Asleep = w == asleep && cluster.Committed >= 5;
            }

            Assert.Equal((ExitCode.Done, Steps, null), (cluster.Outcome.Exit, cluster.Outcome.Version, cluster.Outcome.Reason));
            Assert.Equal(expected, cluster.Weights());
            Assert.Equal(0, cluster.Outcome.UnequalShards);
            Assert.DoesNotContain(cluster.Events, e => e is string said && said.Contains("other bits", StringComparison.Ordinal));
            verified += cluster.Outcome.VerifiedShards!.Value;
            if (seed == 0 && verify == 1) Assert.Equal(Steps * AssistCluster.Shards, verified);
        }

        Assert.InRange(verified, Steps * AssistCluster.Shards * verify, 10 * Steps * AssistCluster.Shards);
    }

    private static float[] Expected(Way way)
    {
        using AssistCluster one = Cluster(1, way);
        one.Run(new Random(0), () => one.Outcome is not null);
        Assert.Equal(0, one.Outcome!.AssistedShards);
        return one.Weights();
    }

    [Fact]
    public void Ways_ComeToBitsOfTheirOwn()
    {
        // Else the tests above would say nothing of these.
        float[][] weights = [.. Enum.GetValues<Way>().Select(Expected)];
        Assert.Equal(weights.Length, weights.Select(w => Convert.ToHexString(System.Runtime.InteropServices.MemoryMarshal.AsBytes(w.AsSpan()))).Distinct().Count());
        Assert.All(weights, w => Assert.DoesNotContain(w, float.IsNaN));
    }
}
