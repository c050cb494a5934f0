using DistTrain.Core;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Training.Tests.Assisting;

/// <summary>Whole jobs with workers that fall asleep, held to the bits of one worker that doesn't.</summary>
public class AssistClusterTests
{
    private const long Steps = 60;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Worker_ThatSleepsToTheEnd_IsDoneWithout(bool rounds)
    {
        for (int seed = 0; seed < 10; seed++)
        {
            var random = new Random(seed);
            using var cluster = new AssistCluster(3, Steps, Wire(rounds));
            cluster.Run(random, () => cluster.Committed == 10);
            cluster.Workers[seed % 3].Asleep = true;
            int pushed = cluster.Workers[seed % 3].Pushed;
            cluster.Run(random, () => cluster.Outcome is not null);
            Assert.Equal((ExitCode.Done, Steps), (cluster.Outcome!.Exit, cluster.Outcome.Version));
            Assert.Equal(Expected(rounds), cluster.Weights());
            Assert.Equal(pushed, cluster.Workers[seed % 3].Pushed);
            // It had two or three shards of each step.
            Assert.InRange(cluster.Outcome.AssistedShards, 2 * 40, 3 * 50);
        }
    }

    [Fact]
    public void Workers_ThatSleepNowAndThen_LeaveTheSameBits()
    {
        long assisted = 0;
        var seen = new Dictionary<(long Step, int Bucket, ShardRange Shards), float[]>();
        for (int seed = 0; seed < 30; seed++)
        {
            var random = new Random(100 + seed);
            using var cluster = new AssistCluster(4, Steps) { Seen = seen };
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
            Assert.Equal(Expected(false), cluster.Weights());
        }

        Assert.True(assisted > 0);
    }

    [Fact]
    public void Worker_ThatWokeUp_DoesItsSharesAgain()
    {
        var random = new Random(4);
        using var cluster = new AssistCluster(3, Steps);
        cluster.Run(random, () => cluster.Committed == 7);
        cluster.Workers[1].Asleep = true;
        cluster.Run(random, () => cluster.Committed == 25);
        cluster.Workers[1].Asleep = false;
        int pushed = cluster.Workers[1].Pushed;
        cluster.Run(random, () => cluster.Outcome is not null);
        // An order lasts 32 steps at most; after that nobody else does its shards.
        Assert.True(cluster.Workers[1].Pushed - pushed > 2 * 3, $"{cluster.Workers[1].Pushed - pushed} shards");
        Assert.Equal(Expected(false), cluster.Weights());
    }

    private static WireOptions Wire(bool rounds) => rounds ? WireOptions.Of(FloatFormat.BFloat16) : WireOptions.Exact;

    private static float[] Expected(bool rounds)
    {
        using var one = new AssistCluster(1, Steps, Wire(rounds));
        one.Run(new Random(0), () => one.Outcome is not null);
        Assert.Equal(0, one.Outcome!.AssistedShards);
        return one.Weights();
    }
}
