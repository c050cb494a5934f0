using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;

namespace DistTrain.Nn.Tests;

/// <summary>Layers that look at shards and positions: batch norm and dropout.</summary>
public sealed unsafe class ShardLayerTests
{
    [Fact]
    public void BatchNorm_ShardOfOneRow_TakesTheRunningOnesAndLeavesThemAlone()
    {
        Model model = Model.Build(new([Layers.BatchNorm(epsilon: 0)]), Losses.SquaredError, [3], null, 3);
        using var harness = new Harness(model, 4);
        Span<float> mean = Tensor(harness, "0.running_mean"), variance = Tensor(harness, "0.running_var");
        ((float[])[1, 2, 3]).CopyTo(mean);
        ((float[])[4, 16, 1]).CopyTo(variance);
        harness.Gather(new Rows([5, 5, 5, 0, 0, 0, 2, 4, 6, 4, 8, 0], [], new float[12]), 0, 4);
        GradientPlan plan = harness.Plan([0, 1, 1, 4], [0, 2, 3]);

        harness.Step(4, plan);

        Assert.Equal([2, 0.75f, 2], new ReadOnlySpan<float>(harness.Run.Output, 3).ToArray());
        Assert.Equal([1, 2, 3], Gradient(harness, plan, 0, "0.running_mean"));
        Assert.Equal([4, 16, 1], Gradient(harness, plan, 0, "0.running_var"));
        // Three rows: three times their mean and unbiased variance.
        AssertClose([6, 12, 6], Gradient(harness, plan, 1, "0.running_mean"));
        AssertClose([12, 48, 36], Gradient(harness, plan, 1, "0.running_var"));
        Assert.Equal([TensorRole.Undecayed, TensorRole.Undecayed, TensorRole.Buffer, TensorRole.Buffer], model.Layout.Tensors.Select(t => t.Role));
    }

    [Fact]
    public void BatchNorm_ImagesOfOneRow_CountTheirPixels()
    {
        Model model = Model.Build(new([Layers.BatchNorm(), Layers.Flatten()]), Losses.SquaredError, [1, 1, 4], null, 4);
        using var harness = new Harness(model, 1);
        harness.Gather(new Rows([1, 2, 3, 6], [], new float[4]), 0, 1);
        GradientPlan plan = harness.Plan([0, 1], [0, 1]);

        harness.Step(1, plan);

        AssertClose([3], Gradient(harness, plan, 0, "0.running_mean"));
        AssertClose([14f / 3], Gradient(harness, plan, 0, "0.running_var"));
    }

    [Theory]
    [InlineData("batch_norm")]
    [InlineData("dropout")]
    public void Forward_TrainingWithoutPlan_IsRefused(string kind)
    {
        Model model = Model.Build(ModelSpec.FromConfig(Config.Json($$"""["{{kind}}", {"dense": 1}]""", "model")), Losses.SquaredError, [2], null, 1);
        using var harness = new Harness(model, 2);

        Assert.Throws<InvalidOperationException>(() => harness.Run.Forward(harness.Weights.Pointer, 2, new StepKey(1, 1, Training: true)));
    }

    [Fact]
    public void Dropout_PositionStepSeedAndPlace_DecideAlone()
    {
        float[] whole = Dropped(place: 0, seed: 1, step: 1, first: 0, count: 6);

        Assert.Equal(whole[(2 * 50)..(4 * 50)], Dropped(place: 0, seed: 1, step: 1, first: 2, count: 2));
        Assert.NotEqual(whole, Dropped(place: 0, seed: 1, step: 2, first: 0, count: 6));
        Assert.NotEqual(whole, Dropped(place: 0, seed: 2, step: 1, first: 0, count: 6));
        Assert.NotEqual(whole, Dropped(place: 1, seed: 1, step: 1, first: 0, count: 6));
        Assert.Equal(["0", "2"], whole.Distinct().Order().Select(v => v.ToString(System.Globalization.CultureInfo.InvariantCulture)));
    }

    [Fact]
    public void Dropout_InUse_ChangesNothing()
    {
        using Harness harness = Ones(place: 0);

        harness.Run.Forward(harness.Weights.Pointer, 6, new StepKey(1, 1, Training: false));

        Assert.All(new ReadOnlySpan<float>(harness.Run.Output, 300).ToArray(), v => Assert.Equal(1, v));
    }

    // What dropout leaves of ones, for rows of a mini-batch, behind so many layers.
    private static float[] Dropped(int place, ulong seed, long step, int first, int count)
    {
        using Harness harness = Ones(place);
        GradientPlan plan = harness.Plan([0, count], [0, 1]);
        plan.LeafPositions[0] = first;
        harness.Run.Forward(harness.Weights.Pointer, count, new StepKey(seed, step, Training: true), plan);
        return new ReadOnlySpan<float>(harness.Run.Output, count * 50).ToArray();
    }

    private static Harness Ones(int place)
    {
        LayerSpec[] before = [.. Enumerable.Repeat(Layers.Identity(), place)];
        Model model = Model.Build(new([Layers.Dense(50, biasInit: Initialisers.Constant(1)), .. before, Layers.Dropout()]), Losses.SquaredError, [1], null, 50);
        var harness = new Harness(model, 6);
        new Span<float>(harness.Run.Input, 6).Clear();
        return harness;
    }

    private static Span<float> Tensor(Harness harness, string name) => harness.WeightsOf(harness.Model.Layout.Tensors.Single(t => t.Name == name));

    private static float[] Gradient(Harness harness, GradientPlan plan, int node, string name)
    {
        TensorEntry tensor = harness.Model.Layout.Tensors.Single(t => t.Name == name);
        return harness.Gradient(plan, node)[(int)tensor.Offset..(int)tensor.End];
    }

    private static void AssertClose(float[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++) Assert.Equal(expected[i], actual[i], 1e-5f * Math.Abs(expected[i]));
    }
}
