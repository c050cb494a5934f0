using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;

namespace DistTrain.Nn.Tests;

/// <summary>The mean of each loss, and its gradient through a linear layer, against PyTorch in double precision.</summary>
public sealed unsafe class LossGoldenTests
{
    private const double Tolerance = 2e-6;

    private static readonly Dictionary<string, (LossSpec Loss, string Target)> Cases = new()
    {
        ["half_squared_error"] = (Losses.HalfSquaredError, "probability"),
        ["absolute_error"] = (Losses.AbsoluteError, "probability"),
        ["huber"] = (Losses.Huber(0.7), "probability"),
        ["binary_cross_entropy"] = (Losses.BinaryCrossEntropy, "probability"),
        ["binary_cross_entropy_labels"] = (Losses.BinaryCrossEntropy, "label"),
        ["kl_divergence"] = (Losses.KlDivergence, "probability"),
        ["soft_labels"] = (Losses.SoftmaxCrossEntropy, "probability"),
        ["soft_labels_smoothed"] = (Losses.SoftmaxCrossEntropyWith(0.1), "probability"),
        ["hinge"] = (Losses.Hinge(0.8), "sign"),
        ["hinge_labels"] = (Losses.Hinge(1.5), "label"),
    };

    public static TheoryData<string> Names() => new(Cases.Keys);

    [Theory]
    [MemberData(nameof(Names))]
    public void Step_AnyLoss_AgreesWithPyTorch(string name)
    {
        (LossSpec loss, string target) = Cases[name];
        Golden golden = Golden.Open("losses");
        bool labels = target == "label";
        Model model = Model.Build(new([Layers.Dense(18)]), loss, [7], labels ? 18 : null, labels ? 0 : 18);
        using var harness = new Harness(model, 12);
        golden["initial.weight"].CopyTo(harness.WeightsOf(model.Layout.Tensors[0]));
        golden["initial.bias"].CopyTo(harness.WeightsOf(model.Layout.Tensors[1]));
        golden["input"].CopyTo(new Span<float>(harness.Run.Input, 12 * 7));
        for (int i = 0; labels && i < 12; i++) harness.Run.Labels[i] = (int)golden["label"][i];
        if (!labels) golden[target].CopyTo(new Span<float>(harness.Run.Targets, 12 * 18));
        GradientPlan plan = harness.Plan([0, 3, 3, 12], [0, 3]);

        SegmentStats stats = Assert.Single(harness.Step(12, plan));

        Assert.Equal(golden[$"{name}/loss"][0], stats.MeanLoss, Math.Abs(stats.MeanLoss) * Tolerance);
        float[] gradient = harness.Gradient(plan, 0);
        foreach (TensorEntry tensor in model.Layout.Tensors)
        {
            ReadOnlySpan<float> expected = golden[$"{name}/gradient.{tensor.Name[2..]}"];
            double difference = 0, norm = 0;
            for (int i = 0; i < expected.Length; i++)
            {
                difference += Math.Pow(expected[i] - (gradient[tensor.Offset + i] / stats.WeightSum), 2);
                norm += Math.Pow(expected[i], 2);
            }

            Assert.True(Math.Sqrt(difference / norm) <= Tolerance, $"{name}: gradient of {tensor.Name} is {Math.Sqrt(difference / norm):g3} off");
        }
    }
}
