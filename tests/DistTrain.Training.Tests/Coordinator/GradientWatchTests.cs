using System.Collections.Immutable;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Tests.Coordinator;

public sealed class GradientWatchTests
{
    // Two layers of weights of 100 elements each, a bias of 8 behind the first that a relu follows, and a buffer.
    private static readonly ParameterLayout Layout = new([
        ("0.weight", [10, 10], TensorRole.Parameter), ("0.bias", [8], TensorRole.Undecayed), ("0.mean", [8], TensorRole.Buffer), ("2.weight", [10, 10], TensorRole.Parameter)]);

    private static readonly WatchedModel Model = new(Layout, [(1, "1")]);

    private static Watched Report(long step, float[] squares, int[]? zeros = null, float[]? left = null, float[]? right = null, int partition = 0) => new(
        1, partition, step, [.. squares], [.. zeros ?? new int[squares.Length]], [.. left ?? []], [.. right ?? []], 32, 32);

    [Fact]
    public void Take_OneServerOrTwo_GivesTheNormsOfTheMeanGradient()
    {
        float[] squares = [4, 9, 0, 36];
        WatchReport one = new GradientWatch(Model, 1).Take(Report(99, squares))!;
        var two = new GradientWatch(Model, 2);
        Assert.Null(two.Take(Report(99, squares[..1])));
        WatchReport joined = two.Take(Report(99, squares[1..], partition: 1))!;

        Assert.Equal([("0.weight", 2 / 64.0), ("0.bias", 3 / 64.0), ("2.weight", 6 / 64.0)], one.Tensors);
        Assert.Equal(7 / 64.0, one.Norm);
        Assert.Equal(one.Tensors, joined.Tensors);
        Assert.Equal(one.Norm, joined.Norm);
        Assert.Null(one.NoiseScale);
        Assert.Empty(one.Warnings);
    }

    [Fact]
    public void Take_ReportsOfALostStep_AreForgotten()
    {
        var watch = new GradientWatch(Model, 2);
        Assert.Null(watch.Take(Report(99, [4])));
        Assert.Null(watch.Take(Report(199, [9, 0, 36], partition: 1)));
        Assert.Equal(199, watch.Take(Report(199, [4]))!.Step);
    }

    [Fact]
    public void NoiseScale_OfKnownSignalAndNoise_IsTheirRatio()
    {
        // |G|² = 4 and tr Σ = 128: E|G_B|² = 4 + 128 / B. Sums are means times the weights 32 and 64.
        float half = (4 + (128 / 32f)) * 32 * 32, whole = (4 + (128 / 64f)) * 64 * 64;
        WatchReport report = new GradientWatch(Model, 1).Take(Report(99, [whole, 0, 0, 0], left: [half, 0, 0, 0], right: [half, 0, 0, 0]))!;

        Assert.Equal(32, report.NoiseScale!.Value, 1e-9);
    }

    [Fact]
    public void Warnings_OfUnitsWithoutGradient_NameTheLayerOnce()
    {
        var watch = new GradientWatch(Model, 1);
        Assert.Empty(watch.Take(Report(99, [4, 9, 0, 36], zeros: [90, 3, 8, 90]))!.Warnings);
        string warning = Assert.Single(watch.Take(Report(199, [4, 9, 0, 36], zeros: [0, 5, 0, 0]))!.Warnings);
        Assert.StartsWith("step 199: 5 of 8 units of layer 1 (relu) give nothing", warning, StringComparison.Ordinal);
        Assert.Empty(watch.Take(Report(299, [4, 9, 0, 36], zeros: [0, 5, 0, 0]))!.Warnings);
    }

    [Fact]
    public void Warnings_OfGradientsThatVanishOrExplode_NameTensorAndStep()
    {
        var watch = new GradientWatch(Model, 1);
        Assert.Contains("an element of 0.weight has 1.0e-006 of what one of 2.weight has".Replace("e-006", "e-6", StringComparison.Ordinal), Assert.Single(watch.Take(Report(99, [1e-12f, 1, 0, 1]))!.Warnings), StringComparison.Ordinal);
        for (int step = 199; step < 500; step += 100) Assert.Empty(watch.Take(Report(step, [1, 1, 0, 1]))!.Warnings);
        string warning = Assert.Single(watch.Take(Report(599, [1e6f, 1, 0, 1]))!.Warnings);
        Assert.StartsWith("step 599: the gradient's norm is 1.56e+1", warning, StringComparison.Ordinal);
        Assert.Contains("no gradient reaches 0.weight", Assert.Single(new GradientWatch(Model, 1).Take(Report(99, [0, 1, 0, 1]))!.Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public void Take_BlocksOfAnotherLayout_AreNotUsed() => Assert.Null(new GradientWatch(Model, 1).Take(Report(99, [1, 2])));
}
