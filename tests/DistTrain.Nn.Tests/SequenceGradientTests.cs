using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;

namespace DistTrain.Nn.Tests;

/// <summary>
/// Gradients of networks over sequences against central differences of their own loss: for each tensor the slope along
/// its gradient, and along another direction. The loss is a sum of fp32's, so differences are good to about 1e-3.
/// </summary>
[Collection(ProcessWideState.Name)]
public sealed unsafe class SequenceGradientTests
{
    private const int Rows = 11;

    public static TheoryData<string> Names() => SequenceModels.Names();

    [Theory]
    [MemberData(nameof(Names))]
    public void Backward_AnyNetwork_AgreesWithCentralDifferences(string name) => Check(name, "\"softmax_cross_entropy\"");

    [Theory]
    [InlineData("lstm")]
    [InlineData("padded lstm")]
    [InlineData("lstm, last state")]
    public void Backward_LossWithOptions_AgreesWithCentralDifferences(string name) =>
        Check(name, """{ "softmax_cross_entropy": { "label_smoothing": 0.2, "class_weights": [1, 2, 0.5, 3, 0], "ignore_index": 3 } }""");

    private static void Check(string name, string loss)
    {
        Model model = SequenceModels.Build(name, loss);
        using var harness = new Harness(model, Rows, seed: 3);
        foreach (TensorEntry tensor in model.Layout.Tensors.Where(t => t.Shape.Length == 1))
        {
            Span<float> bias = harness.WeightsOf(tensor);
            for (int i = 0; i < bias.Length; i++) bias[i] += 0.1f * ((i % 5) - 2);
        }

        harness.Gather(SequenceModels.Examples(name, model, Rows, seed: 5), 0, Rows);
        // A full shard, an empty one, a single row; two nodes, whose sums add up to the whole.
        GradientPlan plan = harness.Plan([0, 5, 5, 6, Rows], [0, 2, 4]);
        harness.Step(Rows, plan);
        float[] gradient = [.. harness.Gradient(plan, 0).Zip(harness.Gradient(plan, 1), (a, b) => a + b)];
        foreach (TensorEntry tensor in model.Layout.Tensors)
        {
            float[] own = gradient[(int)tensor.Offset..(int)tensor.End];
            double norm = Math.Sqrt(own.Sum(g => (double)g * g));
            Assert.True(norm > 0, $"{tensor.Name}: the gradient is 0");
            AssertSlope(harness, plan, tensor, own, [.. own.Select(g => g / norm)], norm);
            AssertSlope(harness, plan, tensor, own, [.. own.Select((_, i) => (((i * 7) % 5) - 2) / (2 * Math.Sqrt(own.Length)))], norm);
        }
    }

    private static void AssertSlope(Harness harness, GradientPlan plan, TensorEntry tensor, float[] gradient, double[] direction, double norm)
    {
        const double Step = 1e-3;
        float[] kept = harness.WeightsOf(tensor).ToArray();
        double LossAt(double step)
        {
            Span<float> weights = harness.WeightsOf(tensor);
            for (int i = 0; i < kept.Length; i++) weights[i] = (float)(kept[i] + (step * direction[i]));
            var stats = new SegmentStats[2];
            harness.Run.Forward(harness.Weights.Pointer, Rows, new StepKey(1, 1, Training: true), plan);
            harness.Run.Loss(Rows, plan, stats);
            kept.CopyTo(weights);
            return stats[0].LossSum + stats[1].LossSum;
        }

        double slope = (LossAt(Step) - LossAt(-Step)) / (2 * Step);
        double expected = gradient.Zip(direction, (g, d) => g * d).Sum();
        Assert.True(Math.Abs(slope - expected) <= (2e-3 * norm) + 1e-3, $"{tensor.Name}: the slope is {slope:g6}, the gradient says {expected:g6} (its norm is {norm:g3})");
    }
}
