using DistTrain.Core.Sharding;

namespace DistTrain.Nn.Tests;

/// <summary>Losses of sequences: each position counts, but for padding; and rows stand for themselves.</summary>
public sealed unsafe class LossPositionTests
{
    public static TheoryData<string, int> Kinds() => new()
    {
        { "\"squared_error\"", 5 },
        { "\"absolute_error\"", 5 },
        { "{ \"huber\": 0.5 }", 5 },
        { "\"binary_cross_entropy\"", 5 },
        { "\"hinge\"", 5 },
        { "\"softmax_cross_entropy\"", 1 },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Step_PaddedLabels_CountPositionsOnlyAndSplitToTheSameBits(string loss, int weight)
    {
        Model model = SequenceModels.Build("padded lstm", loss);
        Rows rows = SequenceModels.Examples("padded lstm", model, 9, seed: 5);
        int[] lengths = [.. Enumerable.Range(0, 9).Select(r => rows.Inputs.Skip(r * 7).Take(7).Count(id => id != 0))];
        Rows otherwise = rows with { Labels = [.. rows.Labels.Select((l, i) => i % 7 < lengths[i / 7] ? l : 99)] };

        (float[] gradient, SegmentStats stats) = Step(model, rows, [0, 4, 4, 9]);
        (float[] ignoring, SegmentStats ignored) = Step(model, otherwise, [0, 4, 4, 9]);

        Assert.Contains(lengths, l => l < 7);
        Assert.Equal((weight * lengths.Sum(), lengths.Sum()), ((int)stats.WeightSum, (int)stats.Predictions));
        Assert.Equal(stats, ignored);
        Assert.Equal(gradient, ignoring);
        AssertPartsJoin(model, rows, gradient, stats);
    }

    [Theory]
    [InlineData("\"kl_divergence\"", 1)]
    [InlineData("\"softmax_cross_entropy\"", 1)]
    [InlineData("\"binary_cross_entropy\"", 3)]
    [InlineData("{ \"squared_error\": { \"half\": true } }", 3)]
    public void Step_TargetsOfSequences_CountEachPosition(string loss, int weight)
    {
        Model model = Model.Build(new([Layers.Dense(8), Layers.Tanh(), Layers.Dense(3)]), LossSpec.FromConfig(Config.Json(loss, "loss")), [4, 6], null, 12);
        Rows rows = Rows.Random(model, 9, seed: 8);
        rows = rows with { Targets = [.. rows.Targets.Select(t => Math.Abs(t) / 2)] };

        (float[] gradient, SegmentStats stats) = Step(model, rows, [0, 4, 4, 9]);

        Assert.Equal(9 * 4 * weight, stats.WeightSum);
        AssertPartsJoin(model, rows, gradient, stats);
    }

    private static void AssertPartsJoin(Model model, Rows rows, float[] whole, SegmentStats stats)
    {
        // The shards [0, 4) and [4, 4) are one node, [4, 9) is the other.
        using var first = new Harness(model, 4);
        first.Gather(rows, 0, 4);
        GradientPlan one = first.Plan([0, 4, 4], [0, 2]);
        SegmentStats sums = first.Step(4, one)[0];
        using var second = new Harness(model, 5);
        second.Gather(rows, 4, 9);
        GradientPlan two = second.Plan([0, 5], [0, 1]);
        sums = SegmentStats.Join(sums, second.Step(5, two)[0]);

        Assert.Equal(stats, sums);
        Assert.Equal(whole, first.Gradient(one, 0).Zip(second.Gradient(two, 0), (a, b) => a + b));
    }

    private static (float[] Gradient, SegmentStats Stats) Step(Model model, Rows rows, int[] shards)
    {
        using var harness = new Harness(model, 9);
        harness.Gather(rows, 0, 9);
        GradientPlan plan = harness.Plan(shards, [0, 3]);
        SegmentStats stats = harness.Step(9, plan)[0];
        return (harness.Gradient(plan, 0), stats);
    }
}
