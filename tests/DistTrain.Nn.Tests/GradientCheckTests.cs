using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;

namespace DistTrain.Nn.Tests;

/// <summary>
/// Gradients of every layer and loss against central differences of the double-precision reference, whose own error is
/// about 1e-9; so what is measured is fp32's.
/// </summary>
public sealed unsafe class GradientCheckTests
{
    private const double Tolerance = 2e-6;

    public static TheoryData<string> Cases() => new(Models.Keys);

    private static readonly Dictionary<string, (ModelSpec Spec, LossSpec Loss, int[] Input, int? Classes, int Targets)> Models = new()
    {
        ["dense, cross-entropy"] = (new([Layers.Dense(3)]), Losses.SoftmaxCrossEntropy, [5], 3, 0),
        ["dense without bias, squared error"] = (new([Layers.Dense(4, bias: false)]), Losses.SquaredError, [7], null, 4),
        ["one input, one output"] = (new([Layers.Dense(1)]), Losses.SquaredError, [1], null, 1),
        ["relu"] = (new([Layers.Dense(19), Layers.Relu(), Layers.Dense(4)]), Losses.SoftmaxCrossEntropy, [9], 4, 0),
        ["sigmoid"] = (new([Layers.Dense(17), Layers.Sigmoid(), Layers.Dense(4)]), Losses.SquaredError, [6], null, 4),
        ["tanh"] = (new([Layers.Dense(33), Layers.Tanh(), Layers.Dense(3)]), Losses.SoftmaxCrossEntropy, [16], 3, 0),
        ["identity"] = (new([Layers.Identity(), Layers.Dense(5), Layers.Identity(), Layers.Dense(2)]), Losses.SquaredError, [3], null, 2),
        ["flatten"] = (new([Layers.Flatten(), Layers.Dense(8), Layers.Flatten(), Layers.Tanh(), Layers.Dense(3)]), Losses.SoftmaxCrossEntropy, [2, 3, 4], 3, 0),
        ["activation first and last"] = (new([Layers.Tanh(), Layers.Dense(6), Layers.Dense(3), Layers.Sigmoid()]), Losses.SquaredError, [4], null, 3),
        ["activations in a row"] = (new([Layers.Dense(12), Layers.Tanh(), Layers.Relu(), Layers.Sigmoid(), Layers.Dense(3)]), Losses.SoftmaxCrossEntropy, [10], 3, 0),
        ["half squared error"] = (new([Layers.Dense(4)]), Losses.HalfSquaredError, [7], null, 4),
        ["absolute error"] = (new([Layers.Dense(18)]), Losses.AbsoluteError, [7], null, 18),
        ["huber"] = (new([Layers.Dense(18)]), Losses.Huber(0.6), [7], null, 18),
        ["binary cross-entropy"] = (new([Layers.Dense(18)]), Losses.BinaryCrossEntropy, [7], null, 18),
        ["binary cross-entropy of classes"] = (new([Layers.Dense(5)]), Losses.BinaryCrossEntropy, [7], 5, 0),
        ["binary cross-entropy of two classes"] = (new([Layers.Dense(1)]), Losses.BinaryCrossEntropy, [7], 2, 0),
        ["divergence"] = (new([Layers.Dense(18)]), Losses.KlDivergence, [7], null, 18),
        ["soft labels"] = (new([Layers.Dense(18)]), Losses.SoftmaxCrossEntropy, [7], null, 18),
        ["hinge"] = (new([Layers.Dense(18)]), Losses.Hinge(0.8), [7], null, 18),
        ["hinge of classes"] = (new([Layers.Dense(18)]), Losses.Hinge(), [7], 18, 0),
        ["hinge of two classes"] = (new([Layers.Dense(1)]), Losses.Hinge(20), [7], 2, 0),
        ["squared error of labels"] = (new([Layers.Dense(20), Layers.Relu(), Layers.Dense(5)]), Losses.SquaredError, [8], 5, 0),
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Backward_AnyModel_AgreesWithCentralDifferences(string name)
    {
        (ModelSpec spec, LossSpec loss, int[] input, int? classes, int targets) = Models[name];
        Model model = Model.Build(spec, loss, [.. input], classes, targets);
        // 11 rows: a full shard, an empty one, a single row; two nodes.
        int[] leafRows = [0, 5, 5, 6, 11];
        using var harness = new Harness(model, 11, seed: 5);
        SpreadBiases(harness);
        Rows rows = Suited(Rows.Random(model, 11, seed: 3), loss, classes);
        harness.Gather(rows, 0, 11);
        GradientPlan plan = harness.Plan(leafRows, [0, 2, 4]);

        SegmentStats[] stats = harness.Step(11, plan);

        for (int node = 0; node < 2; node++)
        {
            (int from, int to) = node == 0 ? (0, 5) : (5, 11);
            var tensors = model.Layout.Tensors.ToDictionary(t => t.Name, t => Array.ConvertAll(harness.WeightsOf(t).ToArray(), v => (double)v));
            double LossSum() => Enumerable.Range(from, to - from).Sum(r => LossOf(harness, spec, loss, rows, r, n => tensors[n]));
            Assert.Equal(LossSum(), stats[node].LossSum, Math.Abs(LossSum()) * Tolerance);
            float[] gradient = harness.Gradient(plan, node);
            foreach (TensorEntry tensor in model.Layout.Tensors)
            {
                AssertDifferences(tensor, tensors[tensor.Name], gradient, LossSum);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Forward_AnyModel_AgreesWithReference(string name)
    {
        (ModelSpec spec, LossSpec loss, int[] input, int? classes, int targets) = Models[name];
        Model model = Model.Build(spec, loss, [.. input], classes, targets);
        using var harness = new Harness(model, 11, seed: 5);
        Rows rows = Rows.Random(model, 11, seed: 3);
        harness.Gather(rows, 0, 11);
        var tensors = model.Layout.Tensors.ToDictionary(t => t.Name, t => Array.ConvertAll(harness.WeightsOf(t).ToArray(), v => (double)v));

        harness.Run.Forward(harness.Weights.Pointer, 11, default);

        for (int row = 0; row < 11; row++)
        {
            double[] expected = Reference.Forward(spec, n => tensors[n], rows.Inputs.AsSpan(row * harness.Features, harness.Features));
            for (int i = 0; i < expected.Length; i++) Assert.Equal(expected[i], harness.Run.Output[(row * harness.Outputs) + i], 1e-5);
        }
    }

    private static void AssertDifferences(TensorEntry tensor, double[] values, float[] gradient, Func<double> lossSum)
    {
        const double Step = 1e-5;
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < values.Length; i++)
        {
            double kept = values[i];
            values[i] = kept + Step;
            double above = lossSum();
            values[i] = kept - Step;
            double below = lossSum();
            values[i] = kept;
            double expected = (above - below) / (2 * Step);
            difference += Math.Pow(expected - gradient[tensor.Offset + i], 2);
            norm += expected * expected;
        }

        double relative = Math.Sqrt(difference / norm);
        Assert.True(relative <= Tolerance, $"{tensor.Name}: the gradient is {relative:g3} off in relative L2 norm, allowed {Tolerance:g3}");
    }

    private static double LossOf(Harness harness, ModelSpec spec, LossSpec loss, Rows rows, int row, Func<string, double[]> tensor)
    {
        double[] output = Reference.Forward(spec, tensor, rows.Inputs.AsSpan(row * harness.Features, harness.Features));
        return Reference.Loss(loss, output, rows.Labels[row], rows.Targets.AsSpan(row * harness.Outputs, harness.Outputs), harness.Model.HasAccuracy);
    }

    private static Rows Suited(Rows rows, LossSpec loss, int? classes) => rows with
    {
        Labels = classes == 2 ? [.. rows.Labels.Select((_, i) => i % 3 == 0 ? 1 : 0)] : rows.Labels,
        Targets = loss switch
        {
            BinaryCrossEntropySpec or KlDivergenceSpec or SoftmaxCrossEntropySpec => [.. rows.Targets.Select((t, i) => i % 4 == 0 ? 0 : Math.Abs(t) / 1.5f)],
            HingeSpec => [.. rows.Targets.Select(t => (float)Math.Sign(t))],
            _ => rows.Targets,
        },
    };

    // Biases start at 0, where some mistakes don't show.
    private static void SpreadBiases(Harness harness)
    {
        foreach (TensorEntry tensor in harness.Model.Layout.Tensors.Where(t => t.Shape.Length == 1))
        {
            Span<float> bias = harness.WeightsOf(tensor);
            for (int i = 0; i < bias.Length; i++) bias[i] = 0.1f * ((i % 5) - 2);
        }
    }
}
