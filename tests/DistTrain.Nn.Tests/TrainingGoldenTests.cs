using System.Collections.Immutable;
using System.Text.Json;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;
using DistTrain.Optim;

namespace DistTrain.Nn.Tests;

/// <summary>
/// Whole trainings of 50 steps against PyTorch's, from the same start: every loss to 1e-4, or to twice what PyTorch itself
/// differs by when rows come in another order. tests/golden/make_trainings.py has the same networks, weights and examples.
/// </summary>
[Collection(ProcessWideState.Name)]
public sealed unsafe class TrainingGoldenTests
{
    private const int Steps = 50;
    private const int Batches = 10;
    private const int BatchRows = 30;
    private const int Shards = 4;
    private const int Classes = 5;
    private const int Vocabulary = 7;

    public static TheoryData<string> Cases => ["mlp", "lenet", "resnet8", "lstm", "gru", "transformer"];

    [Theory]
    [MemberData(nameof(Cases))]
    public void FiftySteps_Losses_AreThoseOfPyTorch(string name)
    {
        Distance worst = Furthest(name, rateScale: 1);

        Assert.True(worst.Parts <= 1, $"step {worst.Step}: {worst.Parts:0.##} times the difference that is allowed, {worst.Allowed:0.0e+0} of PyTorch's {worst.Expected}; got {worst.Loss}");
    }

    /// <summary>What the tolerance is worth.</summary>
    [Theory]
    [MemberData(nameof(Cases))]
    public void FiftySteps_RateOnePercentHigher_IsSeen(string name)
    {
        Distance worst = Furthest(name, rateScale: 1.01);

        Assert.True(worst.Parts > 5, $"a wrong learning rate comes to {worst.Parts:0.##} times the difference that is allowed, at step {worst.Step}");
    }

    // The step whose loss is the furthest from PyTorch's, in parts of what is allowed there.
    private static Distance Furthest(string name, double rateScale)
    {
        string file = Path.Combine(AppContext.BaseDirectory, "golden", "trainings.json");
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(file));
        double[] Golden(string key) => [.. document.RootElement.GetProperty(name).GetProperty(key).EnumerateArray().Select(v => v.GetDouble())];
        double[] expected = Golden("loss"), spread = Golden("spread"), losses = Train(name, rateScale);
        Assert.Equal(Steps, expected.Length);
        Assert.Equal(Steps, spread.Length);
        return losses.Select((loss, step) =>
        {
            Assert.True(double.IsFinite(loss), $"step {step}: {loss}");
            double allowed = Math.Max(1e-4, 2 * spread[step]);
            return new Distance(Math.Abs(loss - expected[step]) / expected[step] / allowed, step, loss, expected[step], allowed);
        }).MaxBy(d => d.Parts)!;
    }

    private static (Model Model, Rows Rows, OptimizerSpec Optimizer) Case(string name)
    {
        const int Rows = Batches * BatchRows;
        Model Build(int[] input, int classes, params ImmutableArray<LayerSpec> layers) => Model.Build(new(layers), Losses.SoftmaxCrossEntropy, [.. input], classes, 0);
        return name switch
        {
            "mlp" => (
                Build([20], Classes, Layers.Dense(24), Layers.Tanh(), Layers.Dense(16), Layers.Relu(), Layers.Dense(Classes)),
                HashedNumbers.Examples(Rows, 20, Classes), new SgdSpec(0.05)),
            "lenet" => (
                Build(
                    [1, 16, 16], Classes, Layers.Conv(6, 5, padding: 2), Layers.Tanh(), Layers.AveragePool(2), Layers.Conv(16, 5), Layers.Tanh(), Layers.AveragePool(2),
                    Layers.Flatten(), Layers.Dense(32), Layers.Tanh(), Layers.Dense(Classes)),
                HashedNumbers.Images(Rows, 1, 16, Classes), new SgdSpec(0.02)),
            "resnet8" => (
                Build(
                    [2, 16, 16], Classes, Layers.Conv(8, 3, padding: 1, bias: false), Layers.BatchNorm(), Layers.Relu(), Layers.Residual(Block(8, 1)), Layers.Relu(),
                    Layers.Residual(Block(12, 2), Shortcut(12)), Layers.Relu(), Layers.Residual(Block(16, 2), Shortcut(16)), Layers.Relu(),
                    Layers.GlobalAveragePool(), Layers.Dense(Classes)),
                HashedNumbers.Images(Rows, 2, 16, Classes), new SgdSpec(0.005)),
            "lstm" => (
                Build([16, 16], Classes, Layers.Lstm(12, returns: RecurrentReturn.Last), Layers.Dense(Classes)),
                HashedNumbers.Images(Rows, 1, 16, Classes), new AdamSpec(0.01)),
            "gru" => (
                Build([10], Vocabulary, Layers.Embedding(Vocabulary, 6), Layers.Gru(12), Layers.Dense(Vocabulary)),
                HashedNumbers.Tokens(Rows, 10, Vocabulary), new AdamSpec(0.01)),
            _ => (
                Build(
                    [8], Vocabulary, Layers.Embedding(Vocabulary, 16), Layers.Positions(), Layers.TransformerBlock(2, causal: true),
                    Layers.TransformerBlock(2, causal: true), Layers.LayerNorm(), Layers.Unembed()),
                HashedNumbers.Tokens(Rows, 8, Vocabulary), new AdamSpec(0.01)),
        };
    }

    private static ImmutableArray<LayerSpec> Block(int channels, int stride) =>
    [
        Layers.Conv(channels, 3, stride: stride, padding: 1, bias: false), Layers.BatchNorm(), Layers.Relu(),
        Layers.Conv(channels, 3, padding: 1, bias: false), Layers.BatchNorm(),
    ];

    private static ImmutableArray<LayerSpec> Shortcut(int channels) =>
        [Layers.Conv(channels, 1, stride: 2, bias: false), Layers.BatchNorm()];

    private static double[] Train(string name, double rateScale)
    {
        (Model model, Rows rows, OptimizerSpec spec) = Case(name);
        using var harness = new Harness(model, BatchRows);
        TensorEntry[] tensors = [.. model.Layout.Tensors.Where(t => t.Role != TensorRole.Buffer)];
        foreach ((int place, TensorEntry tensor) in tensors.Index()) HashedNumbers.FillWeights(harness.WeightsOf(tensor), tensor, place);
        GradientPlan plan = harness.Plan([.. Enumerable.Range(0, Shards + 1).Select(s => s * BatchRows / Shards)], [0, Shards]);
        IOptimizer optimizer = spec.Create();
        NativeBuffer[] state = [.. spec.StateVectors.Select(_ => new NativeBuffer(model.Layout.Length))];
        var losses = new double[Steps];
        for (int step = 0; step < Steps; step++)
        {
            int from = step % Batches * BatchRows;
            harness.Gather(rows, from, from + BatchRows);
            SegmentStats stats = harness.Step(BatchRows, plan)[0];
            losses[step] = stats.MeanLoss;
            var context = new UpdateContext(step + 1, stats.WeightSum, spec.LearningRate * rateScale);
            foreach (TensorEntry tensor in tensors)
            {
                nint[] at = [.. state.Select(s => (nint)(s.Pointer + tensor.Offset))];
                optimizer.Update(context, harness.Weights.Pointer + tensor.Offset, (float*)plan.Gradients[0] + tensor.Offset, at, (int)tensor.Length, KernelPool.Single);
            }
        }

        foreach (NativeBuffer buffer in state) buffer.Dispose();
        return losses;
    }

    private sealed record Distance(double Parts, int Step, double Loss, double Expected, double Allowed);
}
