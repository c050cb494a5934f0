using DistTrain.Core;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Optim;
using DistTrain.Training.ParameterServer;

namespace DistTrain.Training.Tests;

/// <summary>Orders that can't be meant end a member with words, not with whatever they run into.</summary>
public class OrdersTests
{
    private static readonly ParameterLayout Layout = new([("a", [64], TensorRole.Parameter)]);

    [Theory]
    [InlineData(-1)]
    [InlineData(4)]
    [InlineData(2, 1)]
    [InlineData(1, 1)]
    public void Shards_ThatAreNotTheJobs_AreRefused(params int[] shards) =>
        Assert.Equal(ExitCode.ClusterLost, Assert.Throws<DistTrainException>(() => Orders.RequireShards([.. shards], 4)).ExitCode);

    [Theory]
    [InlineData(-1, 4)]
    [InlineData(0, long.MaxValue)]
    [InlineData(0, 4, long.MinValue)]
    public void Clock_OfStepsThatCannotBe_IsRefused(long committed, long granted, params long[] checkpoints)
    {
        Orders.RequireSteps(new Clock(1, 0, 4, [0, 1, 2, 3], default));
        Assert.Throws<DistTrainException>(() => Orders.RequireSteps(new Clock(1, committed, granted, [.. checkpoints], default)));
    }

    [Fact]
    public void Checkpoints_MoreThanAreEverAsked_TakeNoMemory()
    {
        using var state = State(new SgdSpec());
        var cuts = new CheckpointCuts(state, 1, _ => { });
        Assert.Throws<DistTrainException>(() =>
        {
            for (long version = 1; version < 1000; version++) cuts.Begin(version);
        });
    }

    [Fact]
    public void Norms_OfAnotherModel_AreRefused()
    {
        using PartitionState state = State(new LambSpec());
        Assert.Throws<DistTrainException>(() => state.Decide(0, new(1, 1, 1, 1, 1), [1]));
    }

    private static PartitionState State(OptimizerSpec optimizer) =>
        new(Layout, new BucketPlan(Layout, 1, 64).Partitions[0], new UpdateRule(optimizer.Create(), optimizer.StateVectors, _ => 0.5));
}
