using System.Collections.Immutable;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;
using DistTrain.Optim;

namespace DistTrain.Nn.Tests;

/// <summary>Outputs, gradients, and losses and weights over 20 steps, against PyTorch's: relative L2 norm per tensor.</summary>
public sealed unsafe class GoldenTests
{
    private const double Tolerance = 1e-5;
    private const int Shards = 8;

    public static TheoryData<string, string> Runs()
    {
        var runs = new TheoryData<string, string>();
        foreach (string model in (string[])["relu_classifier", "smooth_regressor"])
        {
            foreach (string run in (string[])["sgd", "nesterov", "adam", "adamw"]) runs.Add(model, run);
        }

        return runs;
    }

    [Theory]
    [InlineData("relu_classifier")]
    [InlineData("smooth_regressor")]
    public void FirstStep_OutputAndGradients_AgreeWithPyTorch(string name)
    {
        Golden golden = Golden.Open(name);
        using Harness harness = Start(golden, name);
        GradientPlan plan = EightShards(harness, golden);
        Gather(harness, golden, 0);

        SegmentStats stats = Assert.Single(harness.Step(golden.Batch, plan));

        AssertClose(golden["output"], new ReadOnlySpan<float>(harness.Run.Output, golden.Batch * harness.Outputs), "output");
        float[] gradient = harness.Gradient(plan, 0);
        foreach (TensorEntry tensor in harness.Model.Layout.Tensors)
        {
            float[] mean = [.. gradient[(int)tensor.Offset..(int)tensor.End].Select(g => (float)(g / stats.WeightSum))];
            AssertClose(golden[$"gradient.{tensor.Name}"], mean, $"gradient of {tensor.Name}");
        }
    }

    [Theory]
    [MemberData(nameof(Runs))]
    public void TwentySteps_LossesAndWeights_AgreeWithPyTorch(string name, string run)
    {
        Golden golden = Golden.Open(name);
        using Harness harness = Start(golden, name);
        GradientPlan plan = EightShards(harness, golden);
        OptimizerSpec spec = Optimizer(run);
        IOptimizer optimizer = spec.Create();
        NativeBuffer[] state = [.. spec.StateVectors.Select(_ => new NativeBuffer(harness.Model.Layout.Length))];
        nint[] statePointers = [.. state.Select(s => (nint)s.Pointer)];
        var losses = new float[golden.Steps];

        for (int step = 0; step < golden.Steps; step++)
        {
            Gather(harness, golden, step);
            SegmentStats stats = harness.Step(golden.Batch, plan)[0];
            losses[step] = (float)stats.MeanLoss;
            optimizer.Update(
                new UpdateContext(step + 1, stats.WeightSum, spec.LearningRate), harness.Weights.Pointer, (float*)plan.Gradients[0],
                statePointers, (int)harness.Model.Layout.Length, KernelPool.Single);
        }

        foreach (NativeBuffer buffer in state) buffer.Dispose();
        AssertClose(golden[$"{run}.loss"], losses, "losses");
        foreach (TensorEntry tensor in harness.Model.Layout.Tensors)
        {
            AssertClose(golden[$"{run}.{tensor.Name}"], harness.WeightsOf(tensor), tensor.Name);
        }
    }

    private static OptimizerSpec Optimizer(string run) => run switch
    {
        "sgd" => new SgdSpec(0.1, 0.9),
        "nesterov" => new SgdSpec(0.05, 0.8, Nesterov: true, WeightDecay: 0.01),
        "adam" => new AdamSpec(0.01),
        _ => new AdamSpec(0.01, 0.8, 0.99, 1e-6, 0.1, Decoupled: true),
    };

    private static Harness Start(Golden golden, string name)
    {
        Model model = name == "relu_classifier"
            ? Model.Build(new([Layers.Dense(32), Layers.Relu(), Layers.Dense(17), Layers.Relu(), Layers.Dense(5)]), Losses.SoftmaxCrossEntropy, [20], 5, 0)
            : Model.Build(new([Layers.Dense(24), Layers.Tanh(), Layers.Dense(19), Layers.Sigmoid(), Layers.Dense(3, bias: false)]), Losses.SquaredError, [12], null, 3);
        var harness = new Harness(model, golden.Batch);
        foreach (TensorEntry tensor in model.Layout.Tensors)
        {
            Assert.Equal(golden.Shape($"initial.{tensor.Name}"), tensor.Shape);
            golden[$"initial.{tensor.Name}"].CopyTo(harness.WeightsOf(tensor));
        }

        return harness;
    }

    private static GradientPlan EightShards(Harness harness, Golden golden) =>
        harness.Plan([.. Enumerable.Range(0, Shards + 1).Select(s => s == Shards ? golden.Batch : (int)ShardSlice.Of(golden.Batch, Shards, s).Start)], [0, Shards]);

    private static void Gather(Harness harness, Golden golden, int step)
    {
        int inputs = golden.Batch * harness.Features;
        golden["input"].Slice(step * inputs, inputs).CopyTo(new Span<float>(harness.Run.Input, inputs));
        if (harness.Model.HasAccuracy)
        {
            for (int i = 0; i < golden.Batch; i++) harness.Run.Labels[i] = (int)golden["label"][(step * golden.Batch) + i];
        }
        else
        {
            int targets = golden.Batch * harness.Outputs;
            golden["target"].Slice(step * targets, targets).CopyTo(new Span<float>(harness.Run.Targets, targets));
        }
    }

    private static void AssertClose(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            difference += Math.Pow((double)expected[i] - actual[i], 2);
            norm += Math.Pow(expected[i], 2);
        }

        double relative = Math.Sqrt(difference / norm);
        Assert.True(relative <= Tolerance, $"{what}: relative L2 distance {relative:g3}, allowed {Tolerance:g3}");
    }
}
