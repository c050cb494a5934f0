using System.Collections.Immutable;
using DistTrain.Core.Sharding;
using DistTrain.Data;
using DistTrain.Nn;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Worker;

public sealed unsafe class PrefetchTests
{
    private const int Examples = 40;
    private const int Batch = 16;
    private const int Features = 2 * 4 * 5;

    private static readonly ShardTree Tree = new(4);

    private static readonly Model Net = Model.Build(
        new([Layers.Flatten(), Layers.Dense(3)]), Losses.SoftmaxCrossEntropy, [2, 4, 5], 3, 0);

    private static readonly ArrayDataset Data = new(
        Enumerable.Range(0, Examples * Features).Select(i => (float)i).ToArray(), [2, 4, 5], Enumerable.Range(0, Examples).Select(i => i % 3).ToArray(), 3);

    private static readonly ulong[] Digests = new ulong[4];

    private static WorkerSetup Setup(IDataset? data = null) => new(
        Net, data ?? Data, null, 7, Batch, 4, 1)
    { Augment = [new FlipAugment(), new CropAugment(2), new NoiseAugment(0.5)] };

    private static (float[] Inputs, int[] Labels) Rows(Func<nint, nint, bool> fill, int rows)
    {
        var inputs = new float[rows * Features];
        var labels = new int[rows];
        fixed (float* x = inputs)
        fixed (int* l = labels)
        {
            Assert.True(fill((nint)x, (nint)l));
        }

        return (inputs, labels);
    }

    [Fact]
    public void TryTake_WhatWasBegun_IsWhatIsGathered()
    {
        var source = new BatchSource(Setup(), Tree);
        using var prefetch = new Prefetch(new BatchSource(Setup(), Tree), Data, Tree.Shards);
        foreach (ImmutableArray<int> shards in new ImmutableArray<int>[] { [0, 1, 2, 3], [1, 3] })
        {
            // Step 5 is the short last one of the second epoch.
            foreach (long step in new[] { 0, 1, 4, 5, 6 })
            {
                var rows = new ShardRows(Tree, shards, source.BatchSize(step));
                prefetch.Begin(step, rows);
                var digests = new ulong[4];
                var ahead = Rows((x, l) => prefetch.TryTake(step, rows, (float*)x, (int*)l, null, digests), rows.Rows);
                var now = Rows(
                    (x, l) =>
                    {
                        source.Gather(step, rows, (float*)x, (int*)l, null, Digests);
                        return true;
                    },
                    rows.Rows);
                Assert.Equal(now.Inputs, ahead.Inputs);
                Assert.Equal(Digests[..rows.Shards.Count], digests[..rows.Shards.Count]);
                Assert.Equal(now.Labels, ahead.Labels);
            }
        }
    }

    [Fact]
    public void TryTake_OtherRows_IsRefused()
    {
        var room = new float[Batch * Features];
        var labels = new int[Batch];
        var rows = new ShardRows(Tree, [0, 1], Batch);
        using var prefetch = new Prefetch(new BatchSource(Setup(), Tree), Data, Tree.Shards);
        fixed (float* x = room)
        fixed (int* l = labels)
        {
            Assert.False(prefetch.TryTake(0, rows, x, l, null, Digests));
            prefetch.Begin(1, rows);
            Assert.False(prefetch.TryTake(0, rows, x, l, null, Digests));
            Assert.False(prefetch.TryTake(1, new ShardRows(Tree, [0], Batch), x, l, null, Digests));
            prefetch.Begin(2, rows);
            Assert.False(prefetch.TryTake(1, rows, x, l, null, Digests));
            Assert.True(prefetch.TryTake(2, rows, x, l, null, Digests));
            Assert.False(prefetch.TryTake(2, rows, x, l, null, Digests));
        }
    }

    [Fact]
    public void TryTake_AfterAFailure_ThrowsIt()
    {
        var rows = new ShardRows(Tree, [0], Batch);
        using var prefetch = new Prefetch(new BatchSource(Setup(new Broken()), Tree), Data, Tree.Shards);
        prefetch.Begin(0, rows);
        var room = new float[Batch * Features];
        var e = Assert.Throws<IOException>(() =>
        {
            fixed (float* x = room) prefetch.TryTake(0, rows, x, (int*)x, null, Digests);
        });
        Assert.Equal("the disk is gone", e.Message);
    }

    [Fact]
    public void BeginAndTake_SteadyState_AllocateNothing()
    {
        var rows = new ShardRows(Tree, [0, 1, 2, 3], Batch);
        var room = new float[Batch * Features];
        var labels = new int[Batch];
        using var prefetch = new Prefetch(new BatchSource(Setup(), Tree), Data, Tree.Shards);
        fixed (float* x = room)
        fixed (int* l = labels)
        {
            long before = 0;
            for (int i = 0; i < 30; i++)
            {
                if (i == 10) before = GC.GetAllocatedBytesForCurrentThread();
                prefetch.Begin(0, rows);
                prefetch.TryTake(0, rows, x, l, null, Digests);
            }

            Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        }
    }

    private sealed class Broken : IDataset
    {
        public long Count => Data.Count;

        public ImmutableArray<int> InputShape => Data.InputShape;

        public int FeatureCount => Data.FeatureCount;

        public TargetSpec Target => Data.Target;

        public string ContentHash => "";

        public void GatherInputs(ReadOnlySpan<long> examples, Span<float> inputs) => throw new IOException("the disk is gone");

        public void GatherLabels(ReadOnlySpan<long> examples, Span<int> labels) => Data.GatherLabels(examples, labels);

        public void GatherTargets(ReadOnlySpan<long> examples, Span<float> targets) => Data.GatherTargets(examples, targets);
    }
}
