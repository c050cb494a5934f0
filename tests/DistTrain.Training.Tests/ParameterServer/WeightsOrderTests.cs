using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Optim;
using DistTrain.Training.ParameterServer;

namespace DistTrain.Training.Tests.ParameterServer;

public class WeightsOrderTests
{
    // Backward finishes the last layers first, and a subscriber that is behind wants the first ones first.
    [Fact]
    public async Task Subscriber_ThatIsBehind_GetsFirstLayersFirst_EachOnceAndNewest()
    {
        var layout = new ParameterLayout([("w", [6 * 4096], TensorRole.Parameter)]);
        var plan = new BucketPlan(layout, 1, 4096);
        using var state = new PartitionState(layout, plan.Partitions[0], new UpdateRule(new SgdSpec(0.1, 0).Create(), [], _ => 0.1));
        var broadcast = new WeightsBroadcast(state, 1, 0);
        using IWeightsSubscription subscription = broadcast.Subscribe();
        for (int b = 0; b < 6; b++) Assert.Equal((b, 0L), await NextAsync(subscription));
        foreach (int b in (int[])[5, 3, 4, 1]) broadcast.Publish(plan.Buckets[b], 1);
        Assert.Equal((1, 1L), await NextAsync(subscription));
        broadcast.Publish(plan.Buckets[0], 1);
        broadcast.Publish(plan.Buckets[4], 2);
        Assert.Equal((0, 1L), await NextAsync(subscription));
        Assert.Equal((3, 1L), await NextAsync(subscription));
        Assert.Equal((4, 1L), await NextAsync(subscription));
        Assert.Equal((5, 1L), await NextAsync(subscription));
        Assert.Equal((4, 2L), await NextAsync(subscription));
        broadcast.Close();
        Assert.Null(await subscription.NextAsync(CancellationToken.None));
    }

    private static async Task<(int Bucket, long Version)> NextAsync(IWeightsSubscription subscription)
    {
        (WeightsHeader header, _) = (await subscription.NextAsync(CancellationToken.None))!.Value;
        return (header.Bucket, header.Version);
    }
}
