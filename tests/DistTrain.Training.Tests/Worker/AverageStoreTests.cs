using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Worker;

public sealed class AverageStoreTests : IDisposable
{
    private const long Term = 3;

    private static readonly ParameterLayout Layout = new([("a", [32], TensorRole.Parameter), ("b", [33], TensorRole.Parameter), ("c", [64], TensorRole.Parameter)]);

    // The last bucket belongs to the second server.
    private static readonly BucketPlan Plan = new(Layout, 2, 48);

    private readonly List<long> _weights = [];
    private readonly List<long> _averages = [];
    private readonly WeightsStore _store;

    public AverageStoreTests() => _store = new WeightsStore(Layout, Plan, Term, _weights.Add, _averages.Add);

    public void Dispose() => _store.Dispose();

    private async Task<bool> DeliverAsync(int bucket, long version, float value, bool averaged = true)
    {
        var header = new WeightsHeader(Term, version, bucket) { Averaged = averaged };
        NativeSpan place = await _store.BeginAsync(header, CancellationToken.None);
        if (place.Address == 0) return false;
        Assert.Equal(Plan.Buckets[bucket].Length, place.Length);
        place.Span.Fill(value);
        _store.Complete(header);
        return true;
    }

    private unsafe float Average(int bucket) => _store.Averages[Plan.Buckets[bucket].Offset];

    [Fact]
    public async Task Averages_BesideWeights_LeaveThemAlone()
    {
        for (int b = 0; b < 3; b++) await DeliverAsync(b, 4, 1, averaged: false);
        for (int b = 0; b < 3; b++) await DeliverAsync(b, 4, 10 + b);
        Assert.Equal([4], _weights);
        Assert.Equal([4], _averages);
        Assert.Equal([10f, 11f, 12f], [Average(0), Average(1), Average(2)]);
        unsafe
        {
            Assert.Equal(1, _store.At(4)[0]);
        }
    }

    // Weights of version + 2 wait while a version is computed with; averages have their own place.
    [Fact]
    public async Task Averages_WhileWeightsAreInUse_DoNotWait()
    {
        for (int b = 0; b < 3; b++) await DeliverAsync(b, 4, 1, averaged: false);
        _store.Use(4);
        Assert.True(await DeliverAsync(0, 6, 5));
    }

    [Fact]
    public async Task Averages_SentAgain_AreTakenOnce()
    {
        Assert.True(await DeliverAsync(0, 4, 1));
        Assert.False(await DeliverAsync(0, 4, 2));
        Assert.True(await DeliverAsync(1, 4, 1));
        Assert.Empty(_averages);
        Assert.True(await DeliverAsync(2, 4, 1));
        Assert.Equal([4], _averages);
        Assert.Equal(1, Average(0));
    }

    [Fact]
    public async Task Averages_OfAVersionThatWasPassed_AreDroppedAndTheNewerReported()
    {
        await DeliverAsync(0, 4, 1);
        await DeliverAsync(0, 8, 2);
        Assert.False(await DeliverAsync(1, 4, 1));
        Assert.True(await DeliverAsync(1, 8, 2));
        Assert.Empty(_averages);
        Assert.True(await DeliverAsync(2, 8, 2));
        Assert.Equal([8], _averages);
    }
}
