using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Nn.Tests;

/// <summary>Invariant I1 and I4 for all layers: the same bits however shards are spread and vectors cut, and no allocation.</summary>
[Collection(ProcessWideState.Name)]
public sealed unsafe class LayerSamenessTests
{
    // 5 shards of 14 rows, one empty, one of a single row.
    private static readonly int[] ShardRows = [0, 4, 4, 5, 11, 14];

    public static TheoryData<string> Cases() => new(LayerCases.All.Keys);

    [Theory]
    [MemberData(nameof(Cases))]
    public void Step_ShardsOverSeveralRuns_JoinToTheBitsOfOne(string name)
    {
        Model model = LayerCases.Build(name);
        Rows rows = Rows.Random(model, 14, seed: 9);
        (float[] whole, float[] outputs) = Nodes(model, rows, 0, 5, [0, 5])[0];

        // Workers as [0, 1), [1, 3), [3, 5): the tree's nodes [0, 1), [1, 2), [2, 3), [3, 4), [4, 5).
        (float[] Gradient, float[] Outputs)[] n =
            [.. Nodes(model, rows, 0, 1, [0, 1]), .. Nodes(model, rows, 1, 3, [0, 1, 2]), .. Nodes(model, rows, 3, 5, [0, 1, 2])];
        float[] joined = Add(Add(Add(n[0].Gradient, n[1].Gradient), Add(n[2].Gradient, n[3].Gradient)), n[4].Gradient);

        AssertSameBits(outputs, [.. n[0].Outputs, .. n[1].Outputs, .. n[3].Outputs]);
        AssertSameBits(whole, joined);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Step_NarrowerVectorsOrMoreThreads_SameBits(string name)
    {
        Model model = LayerCases.Build(name);
        Rows rows = Rows.Random(model, 14, seed: 9);
        (float[] expected, float[] outputs) = Nodes(model, rows, 0, 5, [0, 5])[0];
        void Check((float[] Gradient, float[] Outputs) actual)
        {
            AssertSameBits(outputs, actual.Outputs);
            AssertSameBits(expected, actual.Gradient);
        }

        using (var pool = new KernelPool(3)) Check(Nodes(model, rows, 0, 5, [0, 5], pool)[0]);
        foreach (SimdLevel level in (SimdLevel[])[SimdLevel.Scalar, SimdLevel.Vector128, SimdLevel.Vector256])
        {
            using SimdPath.Scope scope = SimdPath.Force(level);
            Check(Nodes(model, rows, 0, 5, [0, 5])[0]);
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Step_NoRows_GivesPositiveZeros(string name)
    {
        Model model = LayerCases.Build(name);
        using var harness = new Harness(model, 4);
        GradientPlan plan = harness.Plan([0, 0, 0, 0], [0, 2, 3]);

        SegmentStats[] stats = harness.Step(0, plan);

        AssertSameBits(new float[model.Layout.Length], harness.Gradient(plan, 0));
        AssertSameBits(new float[model.Layout.Length], harness.Gradient(plan, 1));
        Assert.All(stats, s => Assert.Equal(default, s));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Step_AnyNetwork_AnnouncesAllOnceAndLeavesNothingUnwritten(string name)
    {
        Model model = LayerCases.Build(name);
        using var harness = new Harness(model, 14);
        harness.Gather(Rows.Random(model, 14, 1), 0, 14);
        GradientPlan plan = harness.Plan(ShardRows, [0, 4, 5]);

        harness.Step(14, plan);

        (long Start, long End)[] ranges = [.. harness.Announced.Ranges];
        Assert.Equal(model.Layout.Length, ranges[0].End);
        for (int i = 1; i < ranges.Length; i++) Assert.Equal(ranges[i - 1].Start, ranges[i].End);
        Assert.Equal(0, ranges[^1].Start);
        Assert.All(harness.Gradient(plan, 0).Concat(harness.Gradient(plan, 1)), v => Assert.True(float.IsFinite(v)));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Step_AfterWarmUp_AllocatesNothing(string name)
    {
        Model model = LayerCases.Build(name);
        using var harness = new Harness(model, 14);
        harness.Gather(Rows.Random(model, 14, 1), 0, 14);
        GradientPlan plan = harness.Plan(ShardRows, [0, 4, 5]);
        var stats = new SegmentStats[2];
        SegmentStats running = default;
        void Step()
        {
            harness.Announced.Clear();
            harness.Run.Forward(harness.Weights.Pointer, 14, new StepKey(1, 1, Training: true), plan);
            harness.Run.Loss(14, plan, stats);
            harness.Run.Backward(harness.Weights.Pointer, 14, plan, harness.Announced);
            harness.Run.Forward(harness.Weights.Pointer, 14, default);
            harness.Run.AccumulateEvaluation(14, ref running);
        }

        for (int i = 0; i < 20; i++) Step();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 5; i++) Step();
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.Equal(0, allocated);
    }

    // Gradients of each node, and the outputs of all rows beside the first.
    private static (float[] Gradient, float[] Outputs)[] Nodes(Model model, Rows rows, int lo, int hi, int[] nodeLeaves, KernelPool? pool = null)
    {
        using var harness = new Harness(model, 14, pool);
        int first = ShardRows[lo], count = ShardRows[hi] - first;
        harness.Gather(rows, first, first + count);
        GradientPlan plan = harness.Plan([.. ShardRows[lo..(hi + 1)].Select(r => r - first)], nodeLeaves);
        for (int leaf = lo; leaf < hi; leaf++) plan.LeafPositions[leaf - lo] = ShardRows[leaf];
        harness.Step(count, plan);
        float[] outputs = new ReadOnlySpan<float>(harness.Run.Output, count * harness.Outputs).ToArray();
        return [.. Enumerable.Range(0, plan.NodeCount).Select(j => (harness.Gradient(plan, j), j == 0 ? outputs : []))];
    }

    private static float[] Add(float[] a, float[] b) => [.. a.Zip(b, (x, y) => x + y)];

    private static void AssertSameBits(float[] expected, float[] actual) =>
        Assert.Equal(Array.ConvertAll(expected, BitConverter.SingleToInt32Bits), Array.ConvertAll(actual, BitConverter.SingleToInt32Bits));
}
