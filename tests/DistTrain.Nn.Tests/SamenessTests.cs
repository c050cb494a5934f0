using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Nn.Tests;

/// <summary>Invariant I1: outputs, sums and gradients have the same bits however rows, nodes, threads and vectors are cut.</summary>
[Collection(ProcessWideState.Name)]
public sealed unsafe class SamenessTests
{
    // 7 shards of 50 rows, one of them empty.
    private static readonly int[] ShardRows = [0, 8, 9, 9, 20, 33, 34, 50];

    private static Model Classifier() => Model.Build(
        new([Layers.Dense(70), Layers.Relu(), Layers.Dense(33), Layers.Tanh(), Layers.Dense(20), Layers.Sigmoid(), Layers.Dense(10)]),
        Losses.SoftmaxCrossEntropy, [45], 10, 0);

    private static Model Regressor() => Model.Build(new([Layers.Dense(40), Layers.Tanh(), Layers.Dense(19)]), Losses.SquaredError, [45], null, 19);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Step_ShardsOverSeveralRuns_JoinToTheBitsOfOne(bool regression)
    {
        Model model = regression ? Regressor() : Classifier();
        Rows rows = Rows.Random(model, 50, seed: 9);
        (float[] whole, SegmentStats stats) = WholeStep(model, rows, KernelPool.Single);

        // Workers as [0,2), [2,3), [3,7): the tree's nodes [0,2), [2,3), [3,4), [4,6), [6,7).
        (int Lo, int Hi, int[] Nodes)[] workers = [(0, 2, [0, 2]), (2, 3, [0, 1]), (3, 7, [0, 1, 3, 4])];
        var nodes = new Dictionary<ShardRange, (float[] Gradient, SegmentStats Stats)>();
        foreach ((int lo, int hi, int[] nodeLeaves) in workers)
        {
            using var harness = new Harness(model, 50);
            int first = ShardRows[lo];
            harness.Gather(rows, first, ShardRows[hi]);
            GradientPlan plan = harness.Plan([.. ShardRows[lo..(hi + 1)].Select(r => r - first)], nodeLeaves);
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
    [InlineData(2)]
    [InlineData(5)]
    public void Step_MoreThreads_SameBits(int threads)
    {
        // Wide enough that the kernels split their outputs.
        Model model = Model.Build(
            new([Layers.Dense(300), Layers.Relu(), Layers.Dense(200), Layers.Tanh(), Layers.Dense(10)]), Losses.SoftmaxCrossEntropy, [150], 10, 0);
        Rows rows = Rows.Random(model, 50, seed: 4);
        using var pool = new KernelPool(threads);

        (float[] one, SegmentStats oneStats) = WholeStep(model, rows, KernelPool.Single);
        (float[] many, SegmentStats manyStats) = WholeStep(model, rows, pool);

        AssertSameBits(one, many);
        Assert.Equal(oneStats, manyStats);
    }

    [Theory]
    [InlineData(SimdLevel.Scalar)]
    [InlineData(SimdLevel.Vector128)]
    [InlineData(SimdLevel.Vector256)]
    public void Step_NarrowerVectors_SameBits(SimdLevel level)
    {
        Model model = Classifier();
        Rows rows = Rows.Random(model, 50, seed: 9);
        (float[] widest, SegmentStats widestStats) = WholeStep(model, rows, KernelPool.Single);

        using SimdPath.Scope scope = SimdPath.Force(level);
        (float[] narrow, SegmentStats narrowStats) = WholeStep(model, rows, KernelPool.Single);

        AssertSameBits(widest, narrow);
        Assert.Equal(widestStats, narrowStats);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AccumulateEvaluation_InAnyPieces_SameSums(bool regression)
    {
        Model model = regression ? Regressor() : Classifier();
        Rows rows = Rows.Random(model, 50, seed: 2);
        using var harness = new Harness(model, 50);
        SegmentStats Evaluate(int piece)
        {
            SegmentStats sums = default;
            for (int from = 0; from < 50; from += piece)
            {
                int to = Math.Min(50, from + piece);
                harness.Gather(rows, from, to);
                harness.Run.Forward(harness.Weights.Pointer, to - from, default);
                harness.Run.AccumulateEvaluation(to - from, ref sums);
            }

            return sums;
        }

        SegmentStats whole = Evaluate(50);

        Assert.Equal(whole, Evaluate(1));
        Assert.Equal(whole, Evaluate(7));
        harness.Gather(rows, 0, 50);
        Assert.Equal(whole, harness.Step(50, harness.Plan([0, 50], [0, 1]))[0]);
        Assert.Equal(regression ? 50 * 19 : 50, whole.WeightSum);
        Assert.Equal(50, whole.Examples);
    }

    [Fact]
    public void Step_NoRows_GivesPositiveZeros()
    {
        Model model = Classifier();
        using var harness = new Harness(model, 4);
        GradientPlan plan = harness.Plan([0, 0, 0, 0], [0, 2, 3]);

        SegmentStats[] stats = harness.Step(0, plan);

        AssertSameBits(new float[model.Layout.Length], harness.Gradient(plan, 0));
        AssertSameBits(new float[model.Layout.Length], harness.Gradient(plan, 1));
        Assert.All(stats, s => Assert.Equal(default, s));
    }

    private static (float[] Gradient, SegmentStats Stats) WholeStep(Model model, Rows rows, KernelPool pool)
    {
        using var harness = new Harness(model, 50, pool);
        harness.Gather(rows, 0, 50);
        GradientPlan plan = harness.Plan(ShardRows, [0, 7]);
        SegmentStats[] stats = harness.Step(50, plan);
        return (harness.Gradient(plan, 0), stats[0]);
    }

    // What a parameter server does with nodes that arrive.
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
