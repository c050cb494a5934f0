using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Worker;

public sealed class WeightsStoreTests : IDisposable
{
    private const long Term = 3;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly ParameterLayout Layout = new([("a", [32], TensorRole.Parameter), ("b", [33], TensorRole.Parameter), ("c", [64], TensorRole.Parameter)]);

    // Three buckets; the last belongs to the second server.
    private static readonly BucketPlan Plan = new(Layout, 2, 48);

    private readonly List<long> _complete = [];
    private readonly WeightsStore _store;

    public WeightsStoreTests()
    {
        Assert.Equal(3, Plan.Buckets.Length);
        _store = new WeightsStore(Layout, Plan, Term, version =>
        {
            // What is reported is there, whole, when it is reported.
            foreach (Bucket bucket in Plan.Buckets) AssertStands(version, bucket);
            lock (_complete) _complete.Add(version);
        });
    }

    public void Dispose() => _store.Dispose();

    private static float Value(long version, int bucket) => (10 * version) + bucket + 1;

    private unsafe nint PlaceOf(long version, Bucket bucket) => (nint)(_store.At(version) + bucket.Offset);

    private void AssertStands(long version, Bucket bucket)
    {
        ReadOnlySpan<float> values = new NativeSpan(PlaceOf(version, bucket), bucket.Length).Span;
        Assert.True(
            values.IndexOfAnyExcept(Value(version, bucket.Index)) < 0,
            $"version {version}: bucket {bucket.Index} holds {values[0]}, expected {Value(version, bucket.Index)}");
    }

    private ValueTask<NativeSpan> BeginAsync(long version, int bucket, long term = Term) =>
        _store.BeginAsync(new WeightsHeader(term, version, bucket), CancellationToken.None);

    // As a channel does for one server: one bucket after the other.
    private async Task DeliverAsync(params (int Bucket, long Version)[] buckets)
    {
        foreach ((int bucket, long version) in buckets)
        {
            NativeSpan place = await BeginAsync(version, bucket);
            if (place.Address == 0) continue;
            place.Span.Fill(Value(version, bucket));
            _store.Complete(new WeightsHeader(Term, version, bucket));
        }
    }

    // Who asked for elements of all buckets sleeps until the last one that is missing; of a partition that has none of them it can't be told.
    [Fact]
    public async Task Lacks_CountsTheBucketsThatWereAskedFor()
    {
        Assert.All(Plan.Partitions, p => Assert.Equal(1, _store.Lacks(p.Index)));
        Assert.False(_store.Has(0, 0, Layout.Length));
        Assert.All(Plan.Partitions, p => Assert.Equal(p.Buckets.Length, _store.Lacks(p.Index)));
        await DeliverAsync((0, 0), (1, 0));
        Assert.Equal(3 - 2, Plan.Partitions.Sum(p => p.Buckets.Any(b => b.Index == 2) ? _store.Lacks(p.Index) : 0));
        await DeliverAsync((2, 0));
        Assert.All(Plan.Partitions, p => Assert.Equal(1, _store.Lacks(p.Index)));
    }

    [Fact]
    public async Task Version_WithItsLastBucket_IsReportedOnce()
    {
        await DeliverAsync((1, 0), (2, 0));
        Assert.Empty(_complete);
        await DeliverAsync((0, 0));
        Assert.Equal([0], _complete);
        await DeliverAsync((0, 1), (1, 1), (2, 1));
        Assert.Equal([0, 1], _complete);
    }

    [Fact]
    public async Task Place_OfABucket_HasItsLengthAndVersionsAlternate()
    {
        NativeSpan even = await BeginAsync(0, 1);
        NativeSpan odd = await BeginAsync(1, 1);

        Assert.Equal(Plan.Buckets[1].Length, even.Length);
        Assert.Equal(PlaceOf(0, Plan.Buckets[1]), even.Address);
        Assert.Equal(PlaceOf(1, Plan.Buckets[1]), odd.Address);
        Assert.NotEqual(even.Address, odd.Address);
    }

    // A worker that computes no shards for a while is waited for by nobody: one server may be two versions ahead.
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(6)]
    public async Task Servers_OutOfStepByTwoVersions_TheNewestIsReported(long v)
    {
        Task ahead = DeliverAsync((0, v), (1, v), (0, v + 1), (1, v + 1), (0, v + 2), (1, v + 2));
        Task behind = DeliverAsync((2, v), (2, v + 1), (2, v + 2));
        await Task.WhenAll(ahead, behind).WaitAsync(Patience);

        Assert.Equal(v + 2, _complete[^1]);
        Assert.Equal(_complete.Distinct().Order(), _complete);
    }

    [Fact]
    public async Task Server_ThatSkipsVersions_TheFirstWholeOneIsReported()
    {
        await DeliverAsync((0, 0), (1, 0), (2, 0));
        Task ahead = DeliverAsync((0, 3), (1, 3));
        Task behind = DeliverAsync((2, 1), (2, 2), (2, 3));
        await Task.WhenAll(ahead, behind).WaitAsync(Patience);

        Assert.Equal([0, 3], _complete);
    }

    [Fact]
    public async Task Version_WhosePlaceIsBeingOverwritten_IsNotReported()
    {
        await DeliverAsync((2, 0), (2, 1));
        NativeSpan place = await BeginAsync(2, 2);
        if (place.Address != 0) place.Span[0] = Value(2, 2);

        await DeliverAsync((0, 0), (1, 0));

        Assert.Empty(_complete);
    }

    // Random interleavings of three servers, each in order: the last version is always reported, and none before whole.
    [Fact]
    public async Task Servers_InAnyInterleaving_TheLastVersionIsReported()
    {
        for (int seed = 0; seed < 200; seed++)
        {
            using var fresh = new WeightsStoreTests();
            var random = new Random(seed);
            long[] next = new long[3];
            Task[] servers = [Task.CompletedTask, Task.CompletedTask, Task.CompletedTask];
            while (next.Any(v => v < 6))
            {
                int bucket = random.Next(3);
                if (next[bucket] < 6) servers[bucket] = AfterAsync(servers[bucket], bucket, next[bucket]++);
            }

            await Task.WhenAll(servers).WaitAsync(Patience);
            async Task AfterAsync(Task before, int bucket, long version)
            {
                await before;
                await fresh.DeliverAsync((bucket, version));
            }

            Assert.Equal(5, fresh._complete[^1]);
            Assert.Equal(fresh._complete.Distinct().Order(), fresh._complete);
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public async Task Begin_WouldOverwriteTheVersionInUse_WaitsUntilItIsFree(long version)
    {
        await DeliverAsync((0, 0), (1, 0), (2, 0));
        _store.Use(0);
        await DeliverAsync((0, 1), (1, 1), (2, 1));
        Assert.Equal([0, 1], _complete);

        Task<NativeSpan> waiting = BeginAsync(version, 0).AsTask();
        Assert.False(waiting.IsCompleted, $"version {version} got the place of version 0, which is in use");
        AssertStands(0, Plan.Buckets[0]);

        _store.Use(1);
        Assert.NotEqual(0, (await waiting.WaitAsync(Patience)).Address);
    }

    // A worker that lagged has the first bucket of version 2, and gets no other: it must not keep version 4 from coming.
    [Fact]
    public async Task Version_ThatIsPassedWhileTheRestOfItIsAwaited_IsOver()
    {
        int told = 0;
        using var store = new WeightsStore(Layout, Plan, Term, _ => { }) { Arrived = () => told++ };
        await store.BeginAsync(new WeightsHeader(Term, 2, 0), CancellationToken.None);
        store.Complete(new WeightsHeader(Term, 2, 0));
        store.Use(2);
        Assert.False(store.Has(2, 0, Layout.Length));
        Assert.False(store.IsOver(2));
        Assert.False(store.IsPassed(2, TimeSpan.Zero));
        Task<NativeSpan> newer = store.BeginAsync(new WeightsHeader(Term, 4, 1), CancellationToken.None).AsTask();
        Assert.Equal((false, 1), (newer.IsCompleted, told));
        Assert.True(store.IsOver(2));
        Assert.False(store.IsOver(3));
        // Who asks after that is told at once.
        Assert.False(store.Has(2, 0, Layout.Length));
        Assert.Equal(2, told);
        store.Use(null);
        await newer.WaitAsync(Patience);
        store.Complete(new WeightsHeader(Term, 4, 1));
        Assert.True(store.IsPassed(2, TimeSpan.Zero));
    }

    [Fact]
    public async Task Begin_WaitingWhenCancelled_Ends()
    {
        await DeliverAsync((0, 0), (1, 0), (2, 0));
        _store.Use(0);
        using var cancel = new CancellationTokenSource();
        Task<NativeSpan> waiting = _store.BeginAsync(new WeightsHeader(Term, 2, 0), cancel.Token).AsTask();

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.WaitAsync(Patience));
    }

    [Fact]
    public async Task Begin_VersionThatIsThere_IsDropped()
    {
        await DeliverAsync((0, 4), (1, 4), (2, 4));

        Assert.Equal(default, await BeginAsync(4, 0));
        Assert.Equal(default, await BeginAsync(3, 0));
        await DeliverAsync((0, 4), (1, 4), (2, 4));
        Assert.Equal([4], _complete);
    }

    [Fact]
    public async Task Abort_OfABucket_LetsItComeAgain()
    {
        await DeliverAsync((0, 0), (1, 0));
        (await BeginAsync(0, 2)).Span.Fill(-1);
        _store.Abort(new WeightsHeader(Term, 0, 2));
        Assert.Empty(_complete);

        await DeliverAsync((2, 0));

        Assert.Equal([0], _complete);
    }

    [Theory]
    [InlineData(Term - 1, 0, 0)] // other terms
    [InlineData(Term + 1, 0, 0)]
    [InlineData(Term, 0, 3)] // no such bucket
    [InlineData(Term, 0, -1)]
    [InlineData(Term, -1, 0)] // no such version
    public async Task Begin_WhatIsNotExpected_IsDropped(long term, long version, int bucket)
    {
        Assert.Equal(default, await BeginAsync(version, bucket, term));
    }
}
