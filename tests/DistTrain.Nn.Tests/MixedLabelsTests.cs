using DistTrain.Core;
using DistTrain.Core.Sharding;

namespace DistTrain.Nn.Tests;

/// <summary>Training with a share of each class in place of labels, evaluation with labels.</summary>
public sealed unsafe class MixedLabelsTests
{
    private const int Count = 7;
    private const int Classes = 5;

    private static Model Build(string loss, bool mixes) => Model.Build(
        new([Layers.Dense(8), Layers.Tanh(), Layers.Dense(Classes)]), LossSpec.FromConfig(Config.Json(loss, "loss")), [6], Classes, 0, 1, mixes);

    // Labels are gathered where they are told to be, and something else where shares count.
    private static (float[] Gradient, SegmentStats Trained, SegmentStats Evaluated) Step(Model model, Rows rows, bool mixed)
    {
        using var harness = new Harness(model, Count);
        harness.Gather(mixed ? rows with { Labels = new int[Count] } : rows, 0, Count);
        if (mixed) rows.Targets.CopyTo(new Span<float>(harness.Run.Targets, Count * Classes));
        GradientPlan plan = harness.Plan([0, 3, Count], [0, 2]);
        SegmentStats trained = harness.Step(Count, plan)[0];
        harness.Gather(rows, 0, Count);
        harness.Run.Forward(harness.Weights.Pointer, Count, new StepKey(1, 0, Training: false));
        SegmentStats evaluated = default;
        harness.Run.AccumulateEvaluation(Count, ref evaluated);
        return (harness.Gradient(plan, 0), trained, evaluated);
    }

    [Theory]
    [InlineData("\"softmax_cross_entropy\"")]
    [InlineData("{ \"softmax_cross_entropy\": { \"label_smoothing\": 0.1 } }")]
    [InlineData("\"squared_error\"")]
    [InlineData("\"absolute_error\"")]
    [InlineData("{ \"huber\": 0.5 }")]
    [InlineData("\"binary_cross_entropy\"")]
    public void Step_WholeShares_AreLabels(string loss)
    {
        Model plain = Build(loss, mixes: false), mixing = Build(loss, mixes: true);
        Rows rows = Rows.Random(plain, Count, seed: 4);
        rows = rows with { Targets = [.. rows.Labels.SelectMany(l => Enumerable.Range(0, Classes).Select(c => c == l ? 1f : 0))] };
        (float[] gradient, SegmentStats trained, SegmentStats evaluated) = Step(plain, rows, mixed: false);
        (float[] mixedGradient, SegmentStats mixedTrained, SegmentStats mixedEvaluated) = Step(mixing, rows, mixed: true);

        Assert.Equal(evaluated, mixedEvaluated);
        Assert.Equal(Count, mixedEvaluated.Predictions);
        Assert.Equal(trained.LossSum, mixedTrained.LossSum, 1e-4);
        Assert.Equal((trained.WeightSum, trained.Examples), (mixedTrained.WeightSum, mixedTrained.Examples));
        Assert.Equal((0, 0), (mixedTrained.Correct, mixedTrained.Predictions));
        for (int i = 0; i < gradient.Length; i++) Assert.Equal(gradient[i], mixedGradient[i], 1e-5);
    }

    [Fact]
    public void Step_TwoShares_IsTheWeighedLossOfBothLabels()
    {
        Model plain = Build("\"softmax_cross_entropy\"", mixes: false);
        Rows one = Rows.Random(plain, Count, seed: 4);
        Rows other = one with { Labels = [.. one.Labels.Select(l => (l + 2) % Classes)] };
        Rows mixed = one with { Targets = [.. one.Labels.SelectMany(l => Enumerable.Range(0, Classes).Select(c => c == l ? 0.7f : c == (l + 2) % Classes ? 0.3f : 0))] };
        (float[] oneGradient, SegmentStats oneStats, _) = Step(plain, one, mixed: false);
        (float[] otherGradient, SegmentStats otherStats, _) = Step(plain, other, mixed: false);
        (float[] gradient, SegmentStats stats, _) = Step(Build("\"softmax_cross_entropy\"", mixes: true), mixed, mixed: true);

        Assert.Equal((0.7 * oneStats.LossSum) + (0.3 * otherStats.LossSum), stats.LossSum, 1e-4);
        for (int i = 0; i < gradient.Length; i++) Assert.Equal((0.7f * oneGradient[i]) + (0.3f * otherGradient[i]), gradient[i], 1e-5);
    }

    [Theory]
    [InlineData("\"hinge\"", Classes, "loss: hinge: does not take the mixed labels that mixup and cutmix make")]
    [InlineData("{ \"softmax_cross_entropy\": { \"ignore_index\": 2 } }", Classes, "loss: softmax_cross_entropy: does not take the mixed labels that mixup and cutmix make")]
    [InlineData("\"binary_cross_entropy\"", 1, "loss: binary_cross_entropy: got a model output of shape [1], wanted [2], because mixup and cutmix make a share of each class; end the model with 'dense: 2'")]
    public void Build_LossOfWholeLabels_Refuses(string loss, int outputs, string expected)
    {
        var e = Assert.Throws<DistTrainException>(() => Model.Build(
            new([Layers.Dense(outputs)]), LossSpec.FromConfig(Config.Json(loss, "loss")), [6], outputs == 1 ? 2 : Classes, 0, 1, mixesLabels: true));
        Assert.Equal((ExitCode.BadUsage, expected), (e.ExitCode, e.Message));
    }
}
