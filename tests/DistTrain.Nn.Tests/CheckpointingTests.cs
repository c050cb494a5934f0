using DistTrain.Core;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Nn.Tests;

/// <summary>Values that are computed a second time on the way back: less memory, the same bits.</summary>
[Collection(ProcessWideState.Name)]
public sealed unsafe class CheckpointingTests
{
    private const int Rows = 12;
    private const int Shards = 4;

    private static Model Mlp => Model.Build(
        new([.. Enumerable.Range(0, 24).SelectMany(_ => new[] { Layers.Dense(48), Layers.Tanh() }), Layers.Dense(3)]), Losses.SoftmaxCrossEntropy, [20], 3, 0);

    private static Model Images => Model.Build(
        new([
            Layers.Conv(8, 3, padding: 1), Layers.BatchNorm(), Layers.Relu(),
            Layers.Residual([Layers.Conv(8, 3, padding: 1), Layers.BatchNorm(), Layers.Relu(), Layers.Conv(8, 3, padding: 1), Layers.BatchNorm()]),
            Layers.Relu(), Layers.Dropout(0.2),
            Layers.Residual([Layers.Conv(8, 3, padding: 1), Layers.Gelu(), Layers.Conv(8, 3, padding: 1)]),
            Layers.MaxPool(2), Layers.Flatten(), Layers.Dense(16), Layers.Relu(), Layers.Dense(3)]),
        Losses.SoftmaxCrossEntropy, [2, 8, 8], 3, 0);

    private static Model Sequences => Model.Build(
        new([
            Layers.Embedding(11, 16), Layers.TransformerBlock(2, dropout: 0.1), Layers.Lstm(12, bidirectional: true), Layers.TransformerBlock(2), Layers.LayerNorm(),
            Layers.MeanOverTime(), Layers.Dense(3)]),
        Losses.SoftmaxCrossEntropy, [9], 3, 0);

    public static TheoryData<string> Names => ["mlp", "images", "sequences"];

    [Theory]
    [MemberData(nameof(Names))]
    public void Step_AtAnyBudget_HasTheBitsOfNone(string name)
    {
        Model model = Named(name);
        (float[] expected, double loss, long whole) = Step(model, null);
        long least = MemoryPlanner.Smallest(model.Graph, Rows, Shards).Length * sizeof(float);
        Assert.True(least < 0.85 * MemoryReport.Of(model, Rows, Shards, null).Bytes, $"{least} of {whole}");
        long last = long.MaxValue;
        foreach (double share in (double[])[1, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
        {
            long budget = Math.Max((long)(share * MemoryReport.Of(model, Rows, Shards, null).Bytes), least);
            MemoryReport report = MemoryReport.Of(model, Rows, Shards, budget);
            Assert.True(report.Bytes <= budget, report.ToString());
            Assert.True(report.Bytes <= last, "less memory takes more");
            (float[] gradients, double other, long bytes) = Step(model, budget);
            Assert.True(bytes <= whole);
            Assert.Equal(BitConverter.DoubleToInt64Bits(loss), BitConverter.DoubleToInt64Bits(other));
            Assert.Equal(expected.Select(BitConverter.SingleToInt32Bits), gradients.Select(BitConverter.SingleToInt32Bits));
            last = report.Bytes;
        }
    }

    [Fact]
    public void Choose_LessMemory_ComputesMoreTwice()
    {
        MemoryReport whole = MemoryReport.Of(Mlp, Rows, Shards, null);
        MemoryReport some = MemoryReport.Of(Mlp, Rows, Shards, whole.Bytes * 9 / 10);
        MemoryReport most = MemoryReport.Of(Mlp, Rows, Shards, whole.Bytes * 3 / 4);

        Assert.Equal(0, whole.RepeatedFlops);
        Assert.Empty(whole.Segments);
        Assert.InRange(some.RepeatedFlops, 1, most.RepeatedFlops - 1);
        Assert.Contains("forward runs again over", most.ToString(), StringComparison.Ordinal);
        // Nothing is done more than twice.
        Assert.True(most.RepeatedFlops <= Mlp.Summary.Sum(l => l.Flops));
    }

    [Fact]
    public void Run_BudgetTooSmall_SaysWhatItTakes()
    {
        var refused = Assert.Throws<DistTrainException>(() => new ModelRun(Mlp, Rows, KernelPool.Single, Shards, memory: 1000));
        Assert.Equal(ExitCode.BadUsage, refused.ExitCode);
        Assert.Contains("too little for 12 examples", refused.Message, StringComparison.Ordinal);
    }

    private static Model Named(string name) => name switch { "mlp" => Mlp, "images" => Images, _ => Sequences };

    private static (float[] Gradients, double Loss, long Bytes) Step(Model model, long? memory)
    {
        using var weights = new NativeBuffer(model.Layout.Length);
        using var gradient = new NativeBuffer(model.Layout.Length);
        model.Initialise(3, 0, weights.Span);
        using var run = new ModelRun(model, Rows, KernelPool.Single, Shards, memory);
        var plan = new GradientPlan(Shards) { LeafCount = Shards, NodeCount = 1 };
        for (int i = 0; i <= Shards; i++) plan.LeafRows[i] = i * Rows / Shards;
        plan.NodeLeaves[1] = Shards;
        plan.Gradients[0] = (nint)gradient.Pointer;
        var random = new Random(1);
        int width = model.InputShape.Aggregate(1, (n, d) => n * d);
        for (int i = 0; i < Rows * width; i++) run.Input[i] = model.InputShape is [9] ? random.Next(11) : random.NextSingle() - 0.5f;
        for (int i = 0; i < Rows; i++) run.Labels[i] = random.Next(3);
        var stats = new SegmentStats[1];
        for (int step = 0; step < 2; step++)
        {
            run.Forward(weights.Pointer, Rows, new StepKey(3, step, Training: true), plan);
            run.Loss(Rows, plan, stats);
            run.Backward(weights.Pointer, Rows, plan, new Listener());
        }

        Assert.Contains(gradient.Span.ToArray(), g => g != 0);
        return (gradient.Span.ToArray(), stats[0].LossSum, run.Bytes);
    }

    private sealed class Listener : IGradientListener
    {
        public void Ready(long offset, long end)
        {
        }
    }
}
