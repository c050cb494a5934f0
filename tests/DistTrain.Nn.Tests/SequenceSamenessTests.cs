using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Nn.Tests;

/// <summary>Invariant I1 and zero allocation, for networks over sequences.</summary>
[Collection(ProcessWideState.Name)]
public sealed unsafe class SequenceSamenessTests
{
    // 7 shards of 20 rows, one of them empty.
    private static readonly int[] ShardRows = [0, 3, 4, 4, 8, 13, 14, 20];

    public static TheoryData<string> Names() => SequenceModels.Names();

    [Theory]
    [MemberData(nameof(Names))]
    public void Step_ShardsOverSeveralRuns_JoinToTheBitsOfOne(string name)
    {
        Model model = SequenceModels.Build(name);
        Rows rows = SequenceModels.Examples(name, model, 20, seed: 9);
        (float[] whole, SegmentStats stats) = WholeStep(model, rows, KernelPool.Single);

        // Workers as [0,2), [2,3), [3,7): the tree's nodes [0,2), [2,3), [3,4), [4,6), [6,7).
        (int Lo, int Hi, int[] Nodes)[] workers = [(0, 2, [0, 2]), (2, 3, [0, 1]), (3, 7, [0, 1, 3, 4])];
        var nodes = new Dictionary<ShardRange, (float[] Gradient, SegmentStats Stats)>();
        foreach ((int lo, int hi, int[] nodeLeaves) in workers)
        {
            using var harness = new Harness(model, 20);
            int first = ShardRows[lo];
            harness.Gather(rows, first, ShardRows[hi]);
            GradientPlan plan = harness.Plan([.. ShardRows[lo..(hi + 1)].Select(r => r - first)], nodeLeaves);
            // Where the rows stand in the mini-batch, for random numbers.
            for (int leaf = 0; leaf < plan.LeafCount; leaf++) plan.LeafPositions[leaf] += first;
            SegmentStats[] perNode = harness.Step(ShardRows[hi] - first, plan);
            for (int j = 0; j < plan.NodeCount; j++)
            {
                nodes[new ShardRange(lo + nodeLeaves[j], lo + nodeLeaves[j + 1])] = (harness.Gradient(plan, j), perNode[j]);
            }
        }

        (float[] joined, SegmentStats joinedStats) = Join(new ShardRange(0, 7), nodes);

        AssertSameBits(whole, joined);
        Assert.Equal(stats, joinedStats);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Step_NarrowerVectorsAndMoreThreads_SameBits(string name)
    {
        Model model = SequenceModels.Build(name);
        Rows rows = SequenceModels.Examples(name, model, 20, seed: 9);
        (float[] widest, SegmentStats widestStats) = WholeStep(model, rows, KernelPool.Single);
        using var pool = new KernelPool(3);

        (float[] threads, SegmentStats threadStats) = WholeStep(model, rows, pool);
        AssertSameBits(widest, threads);
        Assert.Equal(widestStats, threadStats);
        foreach (SimdLevel level in (SimdLevel[])[SimdLevel.Scalar, SimdLevel.Vector128, SimdLevel.Vector256])
        {
            using SimdPath.Scope scope = SimdPath.Force(level);
            (float[] narrow, SegmentStats narrowStats) = WholeStep(model, rows, KernelPool.Single);
            AssertSameBits(widest, narrow);
            Assert.Equal(widestStats, narrowStats);
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Step_NoRows_GivesPositiveZeros(string name)
    {
        Model model = SequenceModels.Build(name);
        using var harness = new Harness(model, 4);
        GradientPlan plan = harness.Plan([0, 0, 0, 0], [0, 2, 3]);

        SegmentStats[] stats = harness.Step(0, plan);

        AssertSameBits(new float[model.Layout.Length], harness.Gradient(plan, 0));
        AssertSameBits(new float[model.Layout.Length], harness.Gradient(plan, 1));
        Assert.All(stats, s => Assert.Equal(default, s));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Step_AfterWarmUp_AnnouncesEachTensorOnceAndAllocatesNothing(string name)
    {
        Model model = SequenceModels.Build(name);
        using var harness = new Harness(model, 20);
        harness.Gather(SequenceModels.Examples(name, model, 20, seed: 1), 0, 20);
        GradientPlan plan = harness.Plan(ShardRows, [0, 4, 6, 7]);
        var stats = new SegmentStats[3];
        SegmentStats running = default;
        void Step()
        {
            harness.Announced.Clear();
            harness.Run.Forward(harness.Weights.Pointer, 20, new StepKey(1, 1, Training: true), plan);
            harness.Run.Loss(20, plan, stats);
            harness.Run.Backward(harness.Weights.Pointer, 20, plan, harness.Announced);
            harness.Run.AccumulateEvaluation(20, ref running);
        }

        for (int i = 0; i < 20; i++) Step();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 10; i++) Step();
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.Equal(0, allocated);
        Assert.Equal(model.Layout.Tensors.Select(t => t.Offset), harness.Announced.Ranges.Select(r => r.Start).Order());
        Assert.Equal(model.Layout.Length, harness.Announced.Ranges.Sum(r => r.End - r.Start));
    }

    private static (float[] Gradient, SegmentStats Stats) WholeStep(Model model, Rows rows, KernelPool pool)
    {
        using var harness = new Harness(model, 20, pool);
        harness.Gather(rows, 0, 20);
        GradientPlan plan = harness.Plan(ShardRows, [0, 7]);
        SegmentStats[] stats = harness.Step(20, plan);
        return (harness.Gradient(plan, 0), stats[0]);
    }

    private static (float[] Gradient, SegmentStats Stats) Join(ShardRange range, Dictionary<ShardRange, (float[] Gradient, SegmentStats Stats)> nodes)
    {
        if (nodes.TryGetValue(range, out (float[] Gradient, SegmentStats Stats) found)) return found;
        int split = ShardTree.SplitPoint(range);
        (float[] left, SegmentStats leftStats) = Join(range with { Hi = split }, nodes);
        (float[] right, SegmentStats rightStats) = Join(range with { Lo = split }, nodes);
        return ([.. left.Zip(right, (a, b) => a + b)], SegmentStats.Join(leftStats, rightStats));
    }

    private static void AssertSameBits(float[] expected, float[] actual) =>
        Assert.Equal(Array.ConvertAll(expected, BitConverter.SingleToInt32Bits), Array.ConvertAll(actual, BitConverter.SingleToInt32Bits));
}
