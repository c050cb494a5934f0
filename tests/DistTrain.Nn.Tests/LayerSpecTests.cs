using DistTrain.Core;
using DistTrain.Core.Layout;

namespace DistTrain.Nn.Tests;

/// <summary>What the image layers infer, how they are called, and what they refuse.</summary>
public sealed class LayerSpecTests
{
    [Theory]
    [InlineData("""{"conv": {"out": 6, "kernel": 5, "stride": 2, "padding": "same"}}""", "1,28,28", "6,14,14")]
    [InlineData("""{"conv": {"out": 6, "kernel": [3, 4], "padding": "same"}}""", "2,7,9", "6,7,9")]
    [InlineData("""{"conv": {"out": 6, "kernel": 3, "dilation": 2}}""", "2,7,9", "6,3,5")]
    [InlineData("""{"conv_1d": {"out": 6, "kernel": 3, "padding": "causal"}}""", "10,4", "10,6")]
    [InlineData("""{"conv_1d": {"out": 6, "kernel": 3, "stride": 2, "padding": "same"}}""", "9,4", "5,6")]
    [InlineData("""{"conv_transpose": {"out": 3, "kernel": 4, "stride": 2, "padding": 1}}""", "8,7,7", "3,14,14")]
    [InlineData("""{"max_pool": 2}""", "3,7,8", "3,3,4")]
    [InlineData("""{"max_pool": [1, 2]}""", "3,7,8", "3,7,4")]
    [InlineData("""{"max_pool": 3}""", "10,4", "3,4")]
    [InlineData("""{"average_pool": {"kernel": 3, "stride": 2, "padding": 1}}""", "3,7,8", "3,4,4")]
    [InlineData("\"global_average_pool\"", "10,4", "4")]
    [InlineData("\"global_max_pool\"", "3,7,8", "3")]
    [InlineData("""{"reshape": [3, -1]}""", "12", "3,4")]
    [InlineData("""{"reshape": -1}""", "3,2,2", "12")]
    [InlineData("\"batch_norm\"", "3,7,8", "3,7,8")]
    [InlineData("""{"concat": [[], [{"conv": {"out": 5, "kernel": 1}}]]}""", "3,4,4", "8,4,4")]
    [InlineData("""{"concat": [[], [{"conv_1d": {"out": 5, "kernel": 1}}]]}""", "10,4", "10,9")]
    [InlineData("""{"sum": [[], []]}""", "3,4,4", "3,4,4")]
    public void Build_OneLayer_InfersTheShape(string layer, string input, string output)
    {
        Model model = Build($$"""[{{layer}}, "flatten", {"dense": 1}]""", input);

        Assert.Equal(Sizes(output), model.Summary.Single(l => l.Name == "0").OutputShape.AsEnumerable());
    }

    [Theory]
    [InlineData("""{"conv": {"out": 6, "kernel": 5}}""", "784", "got an input of shape [784], wanted images, [channels, height, width]; put it before 'flatten', or 'reshape' the input")]
    [InlineData("""{"conv": {"out": 6, "kernel": 5}}""", "1,4,4", "got an input of shape [1, 4, 4], wanted an input at least as large as the kernel; take a smaller 'kernel', or 'padding: same'")]
    [InlineData("""{"conv": {"out": 6, "kernel": 3, "groups": 2}}""", "3,8,8", "got an input of shape [3, 8, 8], wanted channels and 'out' that 2 groups divide; there are 3 channels, and 'out' is 6")]
    [InlineData("""{"conv_transpose": {"out": 6, "kernel": 3, "output_padding": 1}}""", "3,8,8", "got an input of shape [3, 8, 8], wanted an 'output_padding' below the stride; it is 1x1, the stride 1x1")]
    [InlineData("""{"max_pool": 5}""", "3,4,4", "got an input of shape [3, 4, 4], wanted an input at least as large as the window, 5x5; take a smaller 'kernel', or leave the layer out")]
    [InlineData("""{"max_pool": {"kernel": 2, "padding": 2}}""", "3,4,4", "got an input of shape [3, 4, 4], wanted a 'padding' below the kernel, 2x2; it is 2x2")]
    [InlineData("""{"group_norm": 2}""", "3,4,4", "got an input of shape [3, 4, 4], wanted channels that 2 groups divide; there are 3")]
    [InlineData("""{"reshape": [5, -1]}""", "12", "got an input of shape [12], wanted one that fits [5, -1]; the input has 12 values")]
    [InlineData("""{"residual": [{"conv": {"out": 4, "kernel": 3}}]}""", "3,8,8", "got an input of shape [3, 8, 8], wanted layers and shortcut of one shape (they give [4, 6, 6] and [3, 8, 8]); give it a 'shortcut' such as a 1x1 'conv' with the same stride")]
    [InlineData("""{"sum": [[{"dense": 4}], []]}""", "3", "got an input of shape [3], wanted branches of one shape (they give [4], [3]); change their last layers")]
    [InlineData("""{"concat": [["global_max_pool"], []]}""", "3,8,8", "got an input of shape [3, 8, 8], wanted branches that differ in channels only (they give [3], [3, 8, 8]); pad or pool them alike")]
    public void Build_WrongInput_NamesLayerGotAndWanted(string layer, string input, string message)
    {
        DistTrainException error = Assert.Throws<DistTrainException>(() => Build($$"""[{{layer}}, "flatten", {"dense": 1}]""", input));

        Assert.StartsWith("model: layer 0 (", error.Message, StringComparison.Ordinal);
        Assert.EndsWith($"): {message}", error.Message, StringComparison.Ordinal);
        Assert.Equal(ExitCode.BadUsage, error.ExitCode);
    }

    [Theory]
    [InlineData("""{"conv": {"out": 6}}""", "model.conv: the key 'model.conv.kernel' is missing")]
    [InlineData("""{"conv": {"out": 6, "kernel": 3, "strides": 2}}""", "unknown key 'model.conv.strides'; did you mean 'stride'?")]
    [InlineData("""{"conv": {"out": 6, "kernel": 3, "padding": "causal"}}""", "model.conv.padding: expected a number of pixels, [rows, columns] or 'same', got 'causal'")]
    [InlineData("""{"conv": {"out": 6, "kernel": [3, 3, 3]}}""", "model.conv.kernel: expected one size, or two as [rows, columns], got a list of 3")]
    [InlineData("""{"dropout": 1}""", "model.dropout: 1 would drop everything: expected a rate below 1")]
    [InlineData("""{"gelu": "exact"}""", "model.gelu: expected 'erf' or 'tanh', got 'exact'")]
    [InlineData("""{"sum": []}""", "model.sum: 'sum' takes a list of branches, each a list of layers, got an empty list")]
    [InlineData("""{"concat": ["relu"]}""", "expected a list of layers, got 'relu'")]
    [InlineData("""{"residual": {"layers": ["relu"], "shortcuts": []}}""", "unknown key 'model.residual.shortcuts'; did you mean 'shortcut'?")]
    public void FromConfig_Mistake_NamesPlaceAndRemedy(string layer, string message)
    {
        DistTrainException error = Assert.Throws<DistTrainException>(() => LayerSpec.FromConfig(Config.Json(layer, "model")));

        Assert.StartsWith("job.yaml:7: ", error.Message, StringComparison.Ordinal);
        Assert.EndsWith(message, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Build_Residual_NamesTensorsByTheirPlace()
    {
        Model model = Build(LayerCases.All["resnet"].Layers, "3,8,8");

        Assert.Equal(
            ["5.0.weight", "7.0.weight", "7.1.weight", "7.1.bias", "7.1.running_mean", "7.1.running_var"],
            model.Layout.Tensors.Select(t => t.Name).Where(n => n == "5.0.weight" || n.StartsWith("7.0.", StringComparison.Ordinal) || n.StartsWith("7.1.", StringComparison.Ordinal)));
        Assert.Contains("5.shortcut.0.weight", model.Layout.Tensors.Select(t => t.Name));
        Assert.Equal(["0", "1", "2", "3.0"], model.Summary.Take(4).Select(l => l.Name));
    }

    [Fact]
    public void Build_FollowedByRelu_RunsAsOneNode()
    {
        // The move to channels last, the convolution with its relu, the norm with its tanh, the sum with its relu, a view, dense.
        Model model = Build("""[{"conv": {"out": 2, "kernel": 3, "padding": 1}}, "relu", "batch_norm", "tanh", {"residual": ["silu"]}, "relu", "flatten", {"dense": 1}]""", "2,4,4");

        Assert.Equal(
            ["ChannelsLastLayer", "ConvLayer", "BatchNormLayer", "FunctionLayer", "SumLayer", "ViewLayer", "DenseLayer"],
            model.Graph.Nodes.Select(n => n.Layer.GetType().Name));
    }

    [Fact]
    public void Conv_Initialised_HasTheVarianceOfItsFans()
    {
        Model model = Build("""[{"conv": {"out": 64, "kernel": 3}}, "relu", {"conv": {"out": 64, "kernel": 3, "groups": 2}}, "global_max_pool", {"dense": 1}]""", "8,8,8");
        var weights = new float[model.Layout.Length];
        model.Initialise(1, 0, weights);
        double Variance(string name)
        {
            TensorEntry tensor = model.Layout.Tensors.Single(t => t.Name == name);
            return weights[(int)tensor.Offset..(int)tensor.End].Average(v => (double)v * v);
        }

        Assert.Equal(2.0 / (8 * 9), Variance("0.weight"), 0.1 * 2 / 72);
        Assert.Equal(1.0 / (32 * 9), Variance("2.weight"), 0.1 / 288);
    }

    private static Model Build(string layers, string input) =>
        Model.Build(ModelSpec.FromConfig(Config.Json(layers, "model")), Losses.SquaredError, [.. Sizes(input)], null, layers.Contains("\"dense\": 5", StringComparison.Ordinal) ? 5 : 1);

    private static IEnumerable<int> Sizes(string text) => text.Split(',').Select(int.Parse);
}
