using DistTrain.Core.Config;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Nn.Tests;

/// <summary>Convolutions that take a max pooling in: the bits of the layers one by one, whatever computes them.</summary>
[Collection(ProcessWideState.Name)]
public sealed unsafe class PooledConvLayerTests
{
    // A view between keeps them apart. The second convolution goes by minimal filtering; odd sides, and a pooling without ReLU.
    private const string Apart = """
        [{"conv": {"out": 32, "kernel": 3, "padding": 1}}, "relu", BETWEEN {"max_pool": 2}, {"conv": {"out": 32, "kernel": 3, "padding": 1}}, "relu", BETWEEN {"max_pool": 2},
         {"conv": {"out": 16, "kernel": 3, "padding": 1}}, BETWEEN {"max_pool": 2}, "flatten", {"dense": 3}]
        """;

    private static readonly int[] ShardRows = [0, 4, 4, 5, 11];

    [Fact]
    public void Build_ConvolutionThenMaxPool_RunsAsOneNode()
    {
        Assert.Equal(
            ["PooledConvLayer", "PooledConvLayer", "PooledConvLayer", "ViewLayer", "DenseLayer"],
            Build(together: true).Graph.Nodes.Select(n => n.Layer.GetType().Name));
        Assert.All(Build(together: true).Graph.Nodes, n => Assert.Equal(n.Layer.OutputWidth, Build(together: true).Graph.Width(n.Output)));
        using ModelRun apart = new(Build(together: false), 8, KernelPool.Single), one = new(Build(together: true), 8, KernelPool.Single);
        Assert.True(one.Bytes < 0.6 * apart.Bytes, $"{one.Bytes} bytes of {apart.Bytes}");
        Assert.DoesNotContain(Build(together: false).Graph.Nodes, n => n.Layer is PooledConvLayer);
    }

    [Fact]
    public void Step_AnyWidthAndThreads_GivesTheBitsOfTheLayersOneByOne()
    {
        (float[] Gradient, float[] Outputs) expected = Step(Build(together: false), null), actual = Step(Build(together: true), null);
        Assert.Contains(expected.Gradient, g => g != 0);
        AssertSame(expected, actual);
        using (var pool = new KernelPool(3)) AssertSame(expected, Step(Build(together: true), pool));
        foreach (SimdLevel level in (SimdLevel[])[SimdLevel.Scalar, SimdLevel.Vector128, SimdLevel.Vector256])
        {
            using SimdPath.Scope scope = SimdPath.Force(level);
            AssertSame(expected, Step(Build(together: true), null));
        }
    }

    [Fact]
    public void Step_InNodes_JoinsToTheBitsOfOne()
    {
        Model model = Build(together: true);
        float[][] nodes = Nodes(model, [0, 2, 4], null).Gradients;
        AssertSame(Nodes(model, [0, 4], null).Gradients[0], [.. nodes[0].Zip(nodes[1], (a, b) => a + b)]);
    }

    private static Model Build(bool together) => Model.Build(
        ModelSpec.FromConfig(Config.Json(Apart.Replace("BETWEEN", together ? "" : "\"identity\",", StringComparison.Ordinal), "model")),
        Losses.SoftmaxCrossEntropy, [1, 19, 22], 3, 0);

    private static (float[] Gradient, float[] Outputs) Step(Model model, KernelPool? pool)
    {
        (float[][] gradients, float[] outputs) = Nodes(model, [0, 4], pool);
        return (gradients[0], outputs);
    }

    private static (float[][] Gradients, float[] Outputs) Nodes(Model model, int[] nodeLeaves, KernelPool? pool)
    {
        using var harness = new Harness(model, 11, pool);
        harness.Gather(Rows.Random(model, 11, seed: 9), 0, 11);
        GradientPlan plan = harness.Plan(ShardRows, nodeLeaves);
        harness.Step(11, plan);
        float[] outputs = new ReadOnlySpan<float>(harness.Run.Output, 11 * harness.Outputs).ToArray();
        return ([.. Enumerable.Range(0, plan.NodeCount).Select(j => harness.Gradient(plan, j))], outputs);
    }

    private static void AssertSame((float[] Gradient, float[] Outputs) expected, (float[] Gradient, float[] Outputs) actual)
    {
        AssertSame(expected.Outputs, actual.Outputs);
        AssertSame(expected.Gradient, actual.Gradient);
    }

    private static void AssertSame(float[] expected, float[] actual) =>
        Assert.Equal(Array.ConvertAll(expected, BitConverter.SingleToInt32Bits), Array.ConvertAll(actual, BitConverter.SingleToInt32Bits));
}
