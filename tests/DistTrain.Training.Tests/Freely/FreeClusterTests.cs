using DistTrain.Data;
using DistTrain.Training.Coordinator;
using DistTrain.Training.Tests.Coordinator;

namespace DistTrain.Training.Tests.Freely;

/// <summary>Steps that don't wait for each other: how far workers go, and that every example counts once whatever happens.</summary>
public sealed class FreeClusterTests
{
    private static TrainingPlan Plan(long totalSteps, long checkpointEvery = 0, bool evaluates = false) =>
        StepClockTests.Plan(stepsPerEpoch: 3, totalSteps, checkpointEvery, evaluates: evaluates) with { Servers = 2 };

    private static void AssertWhole(FreeCluster cluster, long steps)
    {
        var sampler = new Sampler(FreeCluster.Examples, FreeCluster.BatchSize, 1);
        Assert.Equal(steps, cluster.Committed);
        for (int partition = 0; partition < cluster.Partitions; partition++)
        {
            StepSums[] sums = [.. cluster.Applied.Where(a => a.Partition == partition).Select(a => new StepSums(a.Step, a.Stats.Examples, a.Stats.WeightSum))];
            Assert.Equal(Enumerable.Range(0, (int)steps).Select(s => new StepSums(s, sampler.At(s).Size, sampler.At(s).Size)), sums);
        }
    }

    private readonly record struct StepSums(long Step, long Examples, double Weight);

    private static void RunAlone(FreeCluster cluster, int worker)
    {
        do cluster.DeliverAll();
        while (cluster.Workers[worker].Compute());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void Ssp_AStalledWorker_StopsTheOthersAtTheBound(int bound)
    {
        using var cluster = new FreeCluster(Consistency.Ssp(bound), Plan(40));
        cluster.Begin(2);
        RunAlone(cluster, 0);
        // Steps 0 to bound; those before the first clock's end go shard by shard, which are four.
        int apart = Math.Min(bound + 1, StepClock.Window);
        Assert.Equal((apart * 4) + (bound + 1 - apart), cluster.Workers[0].Computed);
        Assert.Equal((0, bound + 1), (cluster.Committed, cluster.Granted));

        // The other one takes a step: so may this one.
        for (int shard = 0; shard < 4; shard++) Assert.True(cluster.Workers[1].Compute());
        int before = cluster.Workers[0].Computed;
        RunAlone(cluster, 0);
        Assert.Equal((1, bound + 2, before + 1), (cluster.Committed, cluster.Granted, cluster.Workers[0].Computed));
        Assert.Equal(bound, cluster.Staleness.Max);

        while (cluster.Committed < 40)
        {
            RunAlone(cluster, 1);
            RunAlone(cluster, 0);
        }

        AssertWhole(cluster, 40);
        Assert.Equal(bound, cluster.Staleness.Max);
    }

    [Fact]
    public void Async_AStalledWorker_LetsTheOthersGoOn()
    {
        using var cluster = new FreeCluster(Consistency.Async, Plan(3000));
        cluster.Begin(2);
        RunAlone(cluster, 0);
        Assert.Equal((0, (long)Consistency.MostAhead), (cluster.Committed, cluster.Granted));
        Assert.Equal(Consistency.MostAhead + (StepClock.Window * 3), cluster.Workers[0].Computed);
        RunAlone(cluster, 1);
        Assert.Equal(Consistency.MostAhead, cluster.Committed);
    }

    // What is granted has to be finished when somebody stops the run, so it isn't much more than what is under way.
    [Fact]
    public void Async_Grants_StayNearTheForemost()
    {
        using var cluster = new FreeCluster(Consistency.Async, Plan(3000));
        cluster.Begin(2);
        Assert.Equal(StepClock.Window, cluster.Granted);
        for (int i = 0; i < 100; i++)
        {
            cluster.Workers[0].Compute();
            cluster.DeliverAll();
        }

        long foremost = 100 - (StepClock.Window * 3);
        Assert.InRange(cluster.Granted, foremost + 1, foremost + StepClock.Window + 1);
    }

    [Fact]
    public void Barriers_SavedAndEvaluatedVersions_StandStillUntilAllAreThere()
    {
        using var cluster = new FreeCluster(Consistency.Async, Plan(12, checkpointEvery: 2, evaluates: true));
        cluster.Begin(2);
        RunAlone(cluster, 0);
        Assert.Equal((0, 2), (cluster.Committed, cluster.Granted));
        Assert.Empty(cluster.Cuts);
        RunAlone(cluster, 1);
        // Version 2 is saved, and left at once; version 3 is evaluated.
        Assert.Equal((2, 3), (cluster.Committed, cluster.Granted));
        Assert.Equal([2L, 2], cluster.Cuts.Select(c => c.Version));
        cluster.Settled(2);
        RunAlone(cluster, 0);
        RunAlone(cluster, 1);
        Assert.Equal((3, 3), (cluster.Committed, cluster.Granted));
        float[] weights = cluster.Weights();
        RunAlone(cluster, 0);
        Assert.Equal(weights, cluster.Weights());
        cluster.Evaluated();
        RunAlone(cluster, 0);
        Assert.NotEqual(weights, cluster.Weights());
    }

    // Every order of events that a seed gives: computations, and segments, weights and orders that come late; workers that die with
    // what they pushed half delivered, and others that come.
    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(3, 2)]
    [InlineData(4, 2)]
    [InlineData(5, 4)]
    [InlineData(6, 4)]
    [InlineData(7, 1023)]
    [InlineData(8, 1023)]
    [InlineData(9, 1023)]
    public void AnyOrder_WithLossesAndNewcomers_CountsEveryExampleOnceWithinTheBound(int seed, int bound)
    {
        const int steps = 30;
        var random = new Random(seed);
        using var cluster = new FreeCluster(bound == 1023 ? Consistency.Async : Consistency.Ssp(bound), Plan(steps));
        var lost = new List<FreeCluster.Member>();
        cluster.Begin(3);
        for (int i = 0; i < 4000 && cluster.Committed < steps; i++)
        {
            FreeCluster.Member worker = cluster.Workers[random.Next(cluster.Workers.Count)];
            switch (random.Next(12))
            {
                case < 3:
                    worker.Compute();
                    break;
                case < 8:
                    worker.DeliverSegment(random);
                    break;
                case 8:
                    worker.DeliverWeights();
                    break;
                case 9:
                    worker.DeliverOrder();
                    break;
                case 10:
                    cluster.DeliverClock(random.Next(cluster.Partitions));
                    break;
                case 11 when random.Next(12) == 0 && cluster.Workers.Count > 1:
                    cluster.Lose(worker);
                    lost.Add(worker);
                    break;
                case 11 when random.Next(12) == 0 && cluster.Workers.Count < 6:
                    cluster.Join();
                    break;
            }

            // What a dead worker pushed may still come.
            if (lost.Count > 0 && random.Next(10) == 0) lost[random.Next(lost.Count)].DeliverSegment();
        }

        Assert.NotEmpty(lost);
        for (int i = 0; i < 200 && cluster.Committed < steps; i++)
        {
            for (int worker = 0; worker < cluster.Workers.Count; worker++) RunAlone(cluster, worker);
        }

        AssertWhole(cluster, steps);
        Assert.InRange(cluster.Staleness.Max, 1, bound);
        foreach (FreeCluster.Member worker in lost) worker.Dispose();
    }
}
