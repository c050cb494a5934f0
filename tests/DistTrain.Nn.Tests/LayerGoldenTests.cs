using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;

namespace DistTrain.Nn.Tests;

/// <summary>
/// Convolutions, poolings, norms, activations and branches against PyTorch in double precision: outputs in training and in
/// use, the loss, all gradients, and what batch norm reports of its statistics. Relative L2 norms per tensor.
/// </summary>
public sealed unsafe class LayerGoldenTests
{
    private const double Tolerance = 5e-6;

    // Before a norm, the scale of another changes almost nothing: the terms of 1.weight's gradient are 77 to 14,000 times their sum.
    private const double CancelledTolerance = 2e-5;
    private static readonly int[] Shards = [0, 3, 8, 12];

    public static TheoryData<string> Cases() => new(LayerCases.Golden.Keys);

    [Theory]
    [MemberData(nameof(Cases))]
    public void Step_AnyNetwork_AgreesWithPyTorch(string name)
    {
        Golden golden = Golden.Open("layers");
        using Harness harness = Start(golden, name);
        GradientPlan plan = harness.Plan(Shards, [0, 2, 3]);

        SegmentStats[] stats = harness.Step(12, plan);

        AssertClose(golden[$"{name}/output"], Output(harness), "output");
        AssertClose(golden[$"{name}/loss"], [(float)(stats[0].LossSum + stats[1].LossSum)], "loss");
        float[] gradient = [.. harness.Gradient(plan, 0).Zip(harness.Gradient(plan, 1), (a, b) => a + b)];
        foreach (TensorEntry tensor in harness.Model.Layout.Tensors)
        {
            AssertClose(golden[$"{name}/gradient.{tensor.Name}"], gradient.AsSpan((int)tensor.Offset, (int)tensor.Length), $"gradient of {tensor.Name}",
                name == "resnet" && tensor.Name == "1.weight" ? CancelledTolerance : Tolerance);
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Forward_InUse_AgreesWithPyTorch(string name)
    {
        Golden golden = Golden.Open("layers");
        using Harness harness = Start(golden, name);

        harness.Run.Forward(harness.Weights.Pointer, 12, default);

        AssertClose(golden[$"{name}/evaluation"], Output(harness), "output");
    }

    private static Harness Start(Golden golden, string name)
    {
        Model model = LayerCases.Build(name);
        var harness = new Harness(model, 12);
        foreach (TensorEntry tensor in model.Layout.Tensors)
        {
            Assert.Equal(golden.Shape($"{name}/initial.{tensor.Name}"), tensor.Shape);
            golden[$"{name}/initial.{tensor.Name}"].CopyTo(harness.WeightsOf(tensor));
        }

        golden[$"{name}/input"].CopyTo(new Span<float>(harness.Run.Input, 12 * harness.Features));
        golden[$"{name}/target"].CopyTo(new Span<float>(harness.Run.Targets, 12 * harness.Outputs));
        return harness;
    }

    private static ReadOnlySpan<float> Output(Harness harness) => new(harness.Run.Output, 12 * harness.Outputs);

    private static void AssertClose(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what, double tolerance = Tolerance)
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
        Assert.True(relative <= tolerance, $"{what}: relative L2 distance {relative:g3}, allowed {tolerance:g3}");
    }
}
