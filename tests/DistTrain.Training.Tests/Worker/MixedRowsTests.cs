using DistTrain.Core.Sharding;
using DistTrain.Data;
using DistTrain.Nn;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Worker;

public sealed unsafe class MixedRowsTests
{
    private const int Examples = 40;
    private const int Batch = 16;
    private const int Features = 2 * 4 * 5;
    private const int Classes = 3;

    private static readonly ShardTree Tree = new(4);

    private static readonly Model Net = Model.Build(
        new([Layers.Flatten(), Layers.Dense(Classes)]), Losses.SoftmaxCrossEntropy, [2, 4, 5], Classes, 0, mixesLabels: true);

    private static readonly ArrayDataset Data = new(
        Enumerable.Range(0, Examples * Features).Select(i => (float)i).ToArray(), [2, 4, 5], Enumerable.Range(0, Examples).Select(i => i % Classes).ToArray(), Classes);

    private static readonly ulong[] Digests = new ulong[4];

    private static WorkerSetup Setup(params AugmentSpec[] items) => new(Net, Data, null, 7, Batch, 4, 1) { Augment = [.. items] };

    private static (float[] Inputs, float[] Targets) Gather(BatchSource source, long step, ShardRows rows)
    {
        var inputs = new float[rows.Rows * Features];
        var targets = new float[rows.Rows * Classes];
        fixed (float* x = inputs, t = targets) source.Gather(step, rows, x, null, t, Digests);
        return (inputs, targets);
    }

    [Fact]
    public void Gather_Mixup_IsBothFinishedImagesInTheSharesOfTheirLabels()
    {
        AugmentSpec[] single = [new FlipAugment(), new CropAugment(2)];
        var source = new BatchSource(Setup([.. single, new MixupAugment(1)]), Tree);
        var plain = new BatchSource(Setup(single), Tree);
        var mixer = new Mixer([new MixupAugment(1)], Data.InputShape, Data.Target, 7);
        foreach (long step in new[] { 0, 2, 5 })
        {
            int size = source.BatchSize(step);
            var rows = new ShardRows(Tree, [0, 1, 2, 3], size);
            (float[] inputs, float[] targets) = Gather(source, step, rows);
            var finished = new float[size * Features];
            var labels = new int[size];
            fixed (float* x = finished)
            fixed (int* l = labels) plain.Gather(step, rows, x, l, null, Digests);
            var partners = new int[size];
            mixer.Partners(step, size, [.. Enumerable.Range(0, size)], partners);
            Assert.Contains(Enumerable.Range(0, size), i => labels[i] != labels[partners[i]]);
            for (int i = 0; i < size; i++)
            {
                int other = partners[i];
                float share = targets[(i * Classes) + labels[i]];
                Assert.Equal(1, targets.AsSpan(i * Classes, Classes).ToArray().Sum(), 1e-6);
                if (labels[i] == labels[other]) continue;
                Assert.Equal(1 - share, targets[(i * Classes) + labels[other]]);
                for (int f = 0; f < Features; f++)
                {
                    Assert.Equal((share * finished[(i * Features) + f]) + ((1 - share) * finished[(other * Features) + f]), inputs[(i * Features) + f], 1e-2);
                }
            }
        }
    }

    [Fact]
    public void Gather_AnyShards_GivesTheSameBits()
    {
        WorkerSetup setup = Setup(new FlipAugment(), new NoiseAugment(0.5), new MixupAugment(0.4), new CutMixAugment());
        var source = new BatchSource(setup, Tree);
        foreach (long step in new[] { 1, 5 })
        {
            int size = source.BatchSize(step);
            (float[] inputs, float[] targets) = Gather(source, step, new ShardRows(Tree, [0, 1, 2, 3], size));
            var shards = new ShardRows(Tree, [1, 3], size);
            (float[] someInputs, float[] someTargets) = Gather(new BatchSource(setup, Tree), step, shards);
            for (int leaf = 0; leaf < 2; leaf++)
            {
                int first = shards.Plan.LeafRows[leaf], count = shards.Plan.LeafRows[leaf + 1] - first, at = shards.Plan.LeafPositions[leaf];
                Assert.Equal(inputs[(at * Features)..((at + count) * Features)], someInputs[(first * Features)..((first + count) * Features)]);
                Assert.Equal(targets[(at * Classes)..((at + count) * Classes)], someTargets[(first * Classes)..((first + count) * Classes)]);
            }
        }
    }

    [Fact]
    public void Prefetch_MixedRows_TakesSoftTargets()
    {
        WorkerSetup setup = Setup(new MixupAugment());
        var source = new BatchSource(setup, Tree);
        using var prefetch = new Prefetch(new BatchSource(setup, Tree), Data, Tree.Shards);
        var rows = new ShardRows(Tree, [0, 1, 2], Batch);
        (float[] inputs, float[] targets) = Gather(source, 1, rows);
        var takenInputs = new float[inputs.Length];
        var takenTargets = new float[targets.Length];
        prefetch.Begin(1, rows);
        fixed (float* x = takenInputs, t = takenTargets) Assert.True(prefetch.TryTake(1, rows, x, null, t, Digests));
        Assert.Equal(inputs, takenInputs);
        Assert.Equal(targets, takenTargets);
    }

    [Fact]
    public void Gather_MixedRows_AllocatesNothing()
    {
        var source = new BatchSource(Setup(new FlipAugment(), new MixupAugment(), new CutMixAugment()), Tree);
        var rows = new ShardRows(Tree, [0, 1, 2, 3], Batch);
        var inputs = new float[rows.Rows * Features];
        var targets = new float[rows.Rows * Classes];
        fixed (float* x = inputs, t = targets)
        {
            long before = 0;
            for (int i = 0; i < 30; i++)
            {
                if (i == 10) before = GC.GetAllocatedBytesForCurrentThread();
                source.Gather(0, rows, x, null, t, Digests);
            }

            Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        }
    }
}
