using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;

namespace DistTrain.Nn.Tests;

/// <summary>
/// Gradients of all layers against central differences of the model's own loss, along directions: for each tensor along its
/// gradient, where the difference should be the gradient's norm, and along two random ones. The loss is fp32, so tolerances
/// are wide; LayerGoldenTests measures the last digits.
/// </summary>
public sealed unsafe class LayerDifferenceTests
{
    private const double Tolerance = 4e-3;
    private const int RowCount = 11;

    // The larger ones meet kinks and curvature, the smaller ones rounding: one of them has to agree.
    private static readonly double[] Steps = [2e-3, 4e-4, 8e-5];

    // A full shard, an empty one, a single row, and the rest; two nodes.
    private static readonly int[] LeafRows = [0, 5, 5, 6, 11];

    public static TheoryData<string> Cases() => new(LayerCases.All.Keys);

    [Theory]
    [MemberData(nameof(Cases))]
    public void Backward_AnyNetwork_AgreesWithCentralDifferences(string name)
    {
        Model model = LayerCases.Build(name);
        using var harness = new Harness(model, RowCount, seed: 3);
        Spread(harness);
        harness.Gather(Rows.Random(model, RowCount, seed: 8), 0, RowCount);
        GradientPlan plan = harness.Plan(LeafRows, [0, 2, 4]);
        harness.Step(RowCount, plan);
        float[][] gradients = [harness.Gradient(plan, 0), harness.Gradient(plan, 1)];
        var random = new Random(5);

        foreach (TensorEntry tensor in model.Layout.Tensors.Where(t => t.Role != TensorRole.Buffer))
        {
            double norm = Math.Sqrt(gradients.Sum(g => Of(g, tensor).ToArray().Sum(v => (double)v * v)));
            for (int trial = 0; trial < 3; trial++)
            {
                float[] along = trial < 2
                    ? Of(gradients[trial], tensor).ToArray()
                    : [.. Enumerable.Range(0, (int)tensor.Length).Select(_ => (float)(random.NextDouble() - 0.5))];
                double size = Math.Sqrt(along.Sum(v => (double)v * v));
                if (size == 0) continue;
                double[][] slopes = [.. Steps.Select(step => Slopes(harness, plan, tensor, along, step / size))];
                for (int node = 0; node < 2; node++)
                {
                    double actual = Dot(Of(gradients[node], tensor), along) / size;
                    double nearest = slopes.Select(s => s[node] / size).MinBy(s => Math.Abs(s - actual));
                    Assert.True(Math.Abs(nearest - actual) <= Tolerance * norm, $"{tensor.Name}, node {node}: the loss rises by {nearest:g6} along direction {trial}, the gradient says {actual:g6} (its norm is {norm:g4})");
                }
            }
        }
    }

    // The loss's central differences of both nodes along a direction.
    private static double[] Slopes(Harness harness, GradientPlan plan, TensorEntry tensor, float[] along, double step)
    {
        float[] kept = harness.WeightsOf(tensor).ToArray();
        double[][] losses = new double[2][];
        for (int side = 0; side < 2; side++)
        {
            Span<float> weights = harness.WeightsOf(tensor);
            for (int i = 0; i < kept.Length; i++) weights[i] = (float)(kept[i] + ((side == 0 ? -step : step) * along[i]));
            var stats = new SegmentStats[2];
            harness.Run.Forward(harness.Weights.Pointer, RowCount, new StepKey(1, 1, Training: true), plan);
            harness.Run.Loss(RowCount, plan, stats);
            losses[side] = [.. stats.Select(s => s.LossSum)];
        }

        kept.CopyTo(harness.WeightsOf(tensor));
        return [.. losses[1].Zip(losses[0], (above, below) => (above - below) / (2 * step))];
    }

    // Biases and norms start at 0 and 1, where some mistakes don't show; running statistics are such that a single row stays tame.
    private static void Spread(Harness harness)
    {
        foreach (TensorEntry tensor in harness.Model.Layout.Tensors.Where(t => t.Shape.Length == 1))
        {
            Span<float> values = harness.WeightsOf(tensor);
            for (int i = 0; i < values.Length; i++) values[i] += 0.1f * ((i % 5) - 2);
        }
    }

    private static ReadOnlySpan<float> Of(float[] flat, TensorEntry tensor) => flat.AsSpan((int)tensor.Offset, (int)tensor.Length);

    private static double Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++) sum += (double)a[i] * b[i];
        return sum;
    }
}
