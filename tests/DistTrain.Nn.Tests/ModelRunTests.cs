using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Nn.Tests;

/// <summary>What a run promises beside its numbers: announcements, padding, hits, no allocation, refusals.</summary>
[Collection(ProcessWideState.Name)]
public sealed unsafe class ModelRunTests
{
    // 5 × 7 weights and 7 biases: every tensor is followed by padding.
    private static Model Small(LossSpec? loss = null) => Model.Build(
        new([Layers.Dense(7), Layers.Relu(), Layers.Dense(3, bias: false), Layers.Tanh(), Layers.Dense(3)]), loss ?? Losses.SoftmaxCrossEntropy, [5], 3, 0);

    [Fact]
    public void Backward_AnyModel_AnnouncesEveryRangeOnceFromTheLast()
    {
        Model model = Small();
        using var harness = new Harness(model, 6);
        harness.Gather(Rows.Random(model, 6, 1), 0, 6);

        harness.Step(6, harness.Plan([0, 2, 6], [0, 1, 2]));

        (long Start, long End)[] ranges = [.. harness.Announced.Ranges.OrderBy(r => r.Start)];
        Assert.Equal(0, ranges[0].Start);
        Assert.Equal(model.Layout.Length, ranges[^1].End);
        for (int i = 1; i < ranges.Length; i++) Assert.Equal(ranges[i - 1].End, ranges[i].Start);
        Assert.Equal(model.Layout.Length, harness.Announced.Ranges[0].End);
        Assert.Equal(0, harness.Announced.Ranges[^1].Start);
    }

    [Fact]
    public void Backward_DirtyBuffers_LeavesPaddingZero()
    {
        Model model = Small();
        using var harness = new Harness(model, 6);
        harness.Gather(Rows.Random(model, 6, 1), 0, 6);
        GradientPlan plan = harness.Plan([0, 2, 6], [0, 1, 2]);

        harness.Step(6, plan);

        for (int node = 0; node < 2; node++)
        {
            float[] gradient = harness.Gradient(plan, node);
            for (int i = 0; i < gradient.Length; i++)
            {
                bool padding = !model.Layout.Tensors.Any(t => t.Offset <= i && i < t.End);
                Assert.True(padding ? BitConverter.SingleToInt32Bits(gradient[i]) == 0 : float.IsFinite(gradient[i]), $"element {i} is {gradient[i]}");
            }
        }
    }

    [Fact]
    public void Backward_GradientIsAnnounced_ItIsFinal()
    {
        Model model = Small();
        using var harness = new Harness(model, 6);
        harness.Gather(Rows.Random(model, 6, 1), 0, 6);
        GradientPlan plan = harness.Plan([0, 2, 6], [0, 2]);
        var copies = new Copies((float*)plan.Gradients[0], (int)model.Layout.Length);

        harness.Run.Forward(harness.Weights.Pointer, 6, default);
        harness.Run.Loss(6, plan, new SegmentStats[1]);
        harness.Run.Backward(harness.Weights.Pointer, 6, plan, copies);

        Assert.Equal(harness.Gradient(plan, 0), copies.Taken);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Loss_LargestOutputs_CountsHitsAndTheLowestIndexWinsTies(bool squaredError)
    {
        // The identity matrix as weights: outputs are the inputs.
        Model model = Model.Build(new([Layers.Dense(3, bias: false)]), squaredError ? Losses.SquaredError : Losses.SoftmaxCrossEntropy, [3], 3, 0);
        using var harness = new Harness(model, 5);
        harness.Weights.Clear();
        for (int i = 0; i < 3; i++) harness.Weights.Pointer[i * 4] = 1;
        float[] inputs = [0, 2, 1, 5, 5, 1, 5, 5, 1, -1, -2, -3, 0, float.NaN, 9];
        int[] labels = [1, 0, 1, 2, 2];
        harness.Gather(new Rows(inputs, labels, []), 0, 5);

        SegmentStats[] stats = harness.Step(5, harness.Plan([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]));

        Assert.Equal([1, 1, 0, 0, 0], stats.Select(s => s.Correct));
    }

    [Fact]
    public void Step_SquaredErrorOfLabels_TargetsAreOneHot()
    {
        Model model = Small(Losses.SquaredError);
        using var harness = new Harness(model, 4);
        Rows rows = Rows.Random(model, 4, 1) with { Labels = [2, 0, 1, 2] };
        harness.Gather(rows, 0, 4);

        SegmentStats stats = harness.Step(4, harness.Plan([0, 4], [0, 1]))[0];

        double expected = 0;
        for (int i = 0; i < 12; i++) expected += Math.Pow(harness.Run.Output[i] - (rows.Labels[i / 3] == i % 3 ? 1 : 0), 2);
        Assert.Equal(expected, stats.LossSum, 1e-5);
        Assert.Equal(12, stats.WeightSum);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Step_AfterWarmUp_AllocatesNothing(int threads)
    {
        Model model = Model.Build(
            new([Layers.Flatten(), Layers.Dense(300), Layers.Relu(), Layers.Dense(100), Layers.Sigmoid(), Layers.Tanh(), Layers.Dense(10)]),
            Losses.SoftmaxCrossEntropy, [10, 20], 10, 0);
        using var pool = new KernelPool(threads);
        using var harness = new Harness(model, 64, pool);
        harness.Gather(Rows.Random(model, 64, 1), 0, 64);
        GradientPlan plan = harness.Plan([0, 16, 32, 48, 64], [0, 2, 4]);
        var stats = new SegmentStats[2];
        SegmentStats running = default;
        void Step()
        {
            harness.Announced.Clear();
            harness.Run.Forward(harness.Weights.Pointer, 64, new StepKey(1, 1, Training: true));
            harness.Run.Loss(64, plan, stats);
            harness.Run.Backward(harness.Weights.Pointer, 64, plan, harness.Announced);
            harness.Run.AccumulateEvaluation(64, ref running);
        }

        for (int i = 0; i < 20; i++) Step();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 10; i++) Step();
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.Equal(0, allocated);
    }

    [Fact]
    public void Forward_MoreRowsThanPlanned_IsRefused()
    {
        using var harness = new Harness(Small(), 6);

        Assert.Throws<ArgumentOutOfRangeException>(() => harness.Run.Forward(harness.Weights.Pointer, 7, default));
    }

    [Theory]
    [InlineData(new[] { 0, 3, 5 }, new[] { 0, 2 })]
    [InlineData(new[] { 0, 4, 3, 6 }, new[] { 0, 3 })]
    [InlineData(new[] { 0, 3, 6 }, new[] { 0, 1 })]
    [InlineData(new[] { 0, 3, 6 }, new[] { 0, 2, 2 })]
    public void Loss_PlanThatDoesNotCoverTheRows_IsRefused(int[] leafRows, int[] nodeLeaves)
    {
        using var harness = new Harness(Small(), 6);
        GradientPlan plan = harness.Plan(leafRows, nodeLeaves);

        Assert.Throws<InvalidOperationException>(() => harness.Run.Loss(6, plan, new SegmentStats[2]));
    }

    private sealed class Copies(float* gradient, int length) : IGradientListener
    {
        public float[] Taken { get; } = new float[length];

        public void Ready(long flatStart, long flatEnd) =>
            new Span<float>(gradient + flatStart, (int)(flatEnd - flatStart)).CopyTo(Taken.AsSpan((int)flatStart));
    }
}
