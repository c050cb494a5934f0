using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Optim;
using DistTrain.Training.Checkpoints;
using DistTrain.Training.ParameterServer;

namespace DistTrain.Training.Tests.ParameterServer;

/// <summary>What a server keeps and sends where weights are averaged: every other version is evaluated.</summary>
public sealed class WeightAveragesTests : IDisposable
{
    private static readonly ParameterLayout Layout = new([("a", [64], TensorRole.Parameter), ("b", [32], TensorRole.Buffer)]);

    private readonly BucketPlan _plan = new(Layout, 1, 64);
    private readonly PartitionState _state;
    private readonly WeightsBroadcast _broadcast;

    public WeightAveragesTests()
    {
        var rule = new UpdateRule(new SgdSpec(1, 0).Create(), [], _ => 1)
        {
            BufferMomentum = _ => 0.5,
            Averaging = new WeightAveraging(0.75, version => version % 2 == 0),
        };
        _state = new PartitionState(Layout, _plan.Partitions[0], rule);
        var initial = new float[64];
        initial.AsSpan().Fill(8);
        _state.Initialise(0, initial);
        _broadcast = new WeightsBroadcast(_state, 1, 0);
    }

    public void Dispose()
    {
        _broadcast.Close();
        _state.Dispose();
    }

    private float Average(int bucket) => _state.Averages!.Range(_plan.Buckets[bucket].Offset, 1).Span[0];

    // One example, whose gradient is 4 everywhere: weights fall by 4, running statistics go half the way to it.
    private unsafe void Apply(long step, double weight = 1)
    {
        var gradient = new float[64];
        gradient.AsSpan().Fill(4);
        fixed (float* g = gradient)
        {
            foreach (Bucket bucket in _plan.Buckets)
            {
                _state.Apply(bucket, step, new NativeSpan((nint)g, bucket.Length), new SegmentStats(1, weight, 0, 1, 1));
                _broadcast.Publish(bucket, step + 1);
            }
        }
    }

    [Fact]
    public void Averages_AfterEachUpdate_FollowTheWeightsAndCopyBuffers()
    {
        Assert.Equal(8, Average(0));
        Apply(0);
        Assert.Equal((0.75f * 8) + (0.25f * 4), Average(0));
        Assert.Equal(2, Average(1));
        Apply(1);
        Assert.Equal((0.75f * 7) + (0.25f * 0), Average(0));
        Assert.Equal(3, Average(1));
    }

    [Fact]
    public void Averages_OfAStepThatUpdatesNothing_Stay()
    {
        Apply(0);
        Apply(1, weight: 0);
        Assert.Equal(7, Average(0));
    }

    [Fact]
    public void Checkpoints_HoldTheAveragesAsWeights_AndTheWeightsBeside()
    {
        Apply(0);
        Assert.Equal([ModelSnapshot.Weights, ModelSnapshot.Unaveraged], _state.VectorNames);
        Assert.Equal(7, _state.Vector(ModelSnapshot.Weights, 1, 0, 1).Span[0]);
        Assert.Equal(4, _state.Vector(ModelSnapshot.Unaveraged, 1, 0, 1).Span[0]);
    }

    [Fact]
    public async Task Broadcast_OfVersionsThatAreEvaluated_SendsAveragesToo()
    {
        using IWeightsSubscription early = _broadcast.Subscribe();
        Apply(0);
        _broadcast.Commit(1);
        Assert.Equal([(0, 1, false, 4), (1, 1, false, 2)], await NextAsync(early, 2));
        Apply(1);
        _broadcast.Commit(2);
        Assert.Equal([(0, 2, false, 0), (0, 2, true, 5.25f), (1, 2, false, 3), (1, 2, true, 3)], await NextAsync(early, 4));

        // Who comes while the evaluation is on, needs them too.
        using IWeightsSubscription late = _broadcast.Subscribe();
        Assert.Equal([(0, 2, false, 0), (0, 2, true, 5.25f), (1, 2, false, 3), (1, 2, true, 3)], await NextAsync(late, 4));
    }

    [Fact]
    public async Task Broadcast_OfAveragesThatWerePassed_SendsNone()
    {
        using IWeightsSubscription slow = _broadcast.Subscribe();
        for (int step = 0; step < 3; step++) Apply(step);
        _broadcast.Commit(3);
        Assert.Equal([(0, 3, false), (1, 3, false)], (await NextAsync(slow, 2)).Select(e => (e.Bucket, e.Version, e.Averaged)));
        Apply(3);
        Assert.Equal([(0, 4, false), (0, 4, true), (1, 4, false), (1, 4, true)], (await NextAsync(slow, 4)).Select(e => (e.Bucket, e.Version, e.Averaged)));
    }

    private static async Task<List<(int Bucket, long Version, bool Averaged, float First)>> NextAsync(IWeightsSubscription subscription, int count)
    {
        var entries = new List<(int, long, bool, float)>();
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (entries.Count < count)
        {
            (WeightsHeader header, NativeSpan payload) = (await subscription.NextAsync(patience.Token))!.Value;
            entries.Add((header.Bucket, header.Version, header.Averaged, payload.Span[0]));
        }

        return [.. entries.Order()];
    }
}
