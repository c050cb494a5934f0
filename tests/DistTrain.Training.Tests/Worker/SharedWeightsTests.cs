using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Memory;
using DistTrain.Optim;
using DistTrain.Training.ParameterServer;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Worker;

/// <summary>Weights that servers hold in shared memory, read in place.</summary>
public sealed class SharedWeightsTests
{
    private const long Term = 3;

    // Three partitions of several pages each, whose ends share pages, and buckets of every kind between them.
    private static readonly ParameterLayout Layout = new([("a", [9000], TensorRole.Parameter), ("b", [30], TensorRole.Parameter), ("c", [20_000], TensorRole.Parameter)]);
    private static readonly BucketPlan Plan = new(Layout, 3, 5000);

    [Fact]
    public async Task Versions_OfSeveralServers_StandWholeAndAreNotCopied()
    {
        if (!SharedRegion.IsSupported) return;
        var complete = new List<long>();
        using var store = new WeightsStore(Layout, Plan, Term, complete.Add, share: true);
        PartitionState[] servers = [.. Plan.Partitions.Select(p => new PartitionState(Layout, p, Rule(share: true)))];
        for (long version = 0; version < 6; version++)
        {
            foreach (PartitionState server in servers)
            {
                foreach (Bucket bucket in server.Partition.Buckets)
                {
                    Fill(server, bucket, version);
                    await DeliverAsync(store, server, bucket, version);
                }
            }

            AssertStands(store, version);
            if (version > 0) AssertStands(store, version - 1);
            Assert.Equal(version, complete[^1]);
        }

        // What a server writes in the middle of a bucket shows here at once.
        Bucket large = Plan.Buckets.MaxBy(b => b.Length)!;
        servers[large.Partition].Weights(5, large.Offset, large.Length).Span[large.Length / 2] = -1;
        Assert.Equal(-1, At(store, 5, large.Offset + (large.Length / 2)));
        foreach (PartitionState server in servers) server.Dispose();
    }

    [Fact]
    public async Task Version_FromAServerThatSharesNothing_ReplacesWhatWasShown()
    {
        if (!SharedRegion.IsSupported) return;
        using var store = new WeightsStore(Layout, Plan, Term, _ => { }, share: true);
        using var sharing = new PartitionState(Layout, Plan.Partitions[0], Rule(share: true));
        using var alone = new PartitionState(Layout, Plan.Partitions[0], Rule(share: false));
        Bucket bucket = Plan.Partitions[0].Buckets[0];
        Fill(sharing, bucket, 0);
        await DeliverAsync(store, sharing, bucket, 0);
        Fill(alone, bucket, 2);
        await DeliverAsync(store, alone, bucket, 2);
        Assert.Equal(Value(2, bucket.Offset + 1500), At(store, 2, bucket.Offset + 1500));
        Assert.Equal(Value(0, bucket.Offset + 1500), sharing.Weights(0, bucket.Offset + 1500, 1).Span[0]);
    }

    [Fact]
    public async Task Has_WhatIsAwaited_IsToldOnceWhenAllOfItIsThere()
    {
        int told = 0;
        using var store = new WeightsStore(Layout, Plan, Term, _ => { }) { Arrived = () => told++ };
        PartitionState[] servers = [.. Plan.Partitions.Select(p => new PartitionState(Layout, p, Rule(share: false)))];
        Bucket first = Plan.Buckets[0], second = Plan.Buckets[1];
        Assert.False(store.Has(0, 0, second.Offset + 1));
        await DeliverAsync(store, servers[first.Partition], first, 0);
        Assert.Equal(0, told);
        Assert.True(store.Has(0, 0, first.End));
        Assert.False(store.Has(0, 0, second.Offset + 1));
        await DeliverAsync(store, servers[second.Partition], second, 0);
        Assert.Equal(1, told);
        Assert.True(store.Has(0, 0, second.End));
        Assert.False(store.Has(1, 0, 1));
        foreach (PartitionState server in servers) server.Dispose();
    }

    private static UpdateRule Rule(bool share) => new(new SgdSpec(0.5, 0).Create(), [], _ => 0.5) { SharesMemory = share };

    private static unsafe float At(WeightsStore store, long version, long element) => store.At(version)[element];

    private static float Value(long version, long element) => (version * 100_000) + element;

    private static void Fill(PartitionState server, Bucket bucket, long version)
    {
        Span<float> weights = server.Weights(version, bucket.Offset, bucket.Length).Span;
        for (int i = 0; i < weights.Length; i++) weights[i] = Value(version, bucket.Offset + i);
    }

    // As the in-process channel does.
    private static ValueTask DeliverAsync(WeightsStore store, PartitionState server, Bucket bucket, long version)
    {
        NativeSpan payload = server.Payload(bucket, version);
        return store.ReadAsync(new WeightsHeader(Term, version, bucket.Index), payload, SharedRegion.Find(payload.Address)?.Region, CancellationToken.None);
    }

    private static void AssertStands(WeightsStore store, long version)
    {
        for (long i = 0; i < Layout.Length; i++) Assert.Equal(Value(version, i), At(store, version, i));
    }
}
