using DistTrain.Core;
using DistTrain.Core.Layout;

namespace DistTrain.Nn.Tests;

public sealed class ModelTests
{
    private const string Job = """
        ["flatten", { "dense": 64 }, "relu", { "dense": { "out": 10, "bias": false, "init": "he_uniform" } }, { "identity": null }]
        """;

    [Fact]
    public void FromConfig_EveryForm_EqualsTheCSharpForm()
    {
        ModelSpec spec = ModelSpec.FromConfig(Config.Json(Job, "model"));

        Assert.Equal(
            new ModelSpec([Layers.Flatten(), Layers.Dense(64), Layers.Relu(), Layers.Dense(10, bias: false, Initialisers.HeUniform), Layers.Identity()]), spec);
        Assert.Equal(["flatten", "dense", "relu", "dense", "identity"], spec.Layers.Select(l => l.Kind));
        Assert.Equal(Layers.Sigmoid(), LayerSpec.FromConfig(Config.Json("\"sigmoid\"", "model[0]")));
        Assert.Equal(Layers.Tanh(), LayerSpec.FromConfig(Config.Json("\"tanh\"", "model[0]")));
    }

    [Fact]
    public void Build_Images_InfersShapesAndNamesTensorsAsPyTorch()
    {
        Model model = Model.Build(ModelSpec.FromConfig(Config.Json(Job, "model")), Losses.SoftmaxCrossEntropy, [8, 8], 10, 0);

        Assert.Equal(["1.weight", "1.bias", "3.weight"], model.Layout.Tensors.Select(t => t.Name));
        Assert.Equal([64, 64], model.Layout.Tensors[0].Shape.AsEnumerable());
        Assert.Equal([10, 64], model.Layout.Tensors[2].Shape.AsEnumerable());
        Assert.Equal([TensorRole.Parameter, TensorRole.Undecayed, TensorRole.Parameter], model.Layout.Tensors.Select(t => t.Role));
        Assert.Equal([10], model.OutputShape.AsEnumerable());
        Assert.True(model.HasAccuracy);
        Assert.False(Model.Build(new([Layers.Dense(2)]), Losses.SquaredError, [3], null, 2).HasAccuracy);
        Assert.Equal(
            [("0", "flatten", "8x8", "64", 0L, 0L), ("1", "dense", "64", "64", 4160, 8256), ("2", "relu", "64", "64", 0, 64), ("3", "dense", "64", "10", 640, 1280), ("4", "identity", "10", "10", 0, 0)],
            model.Summary.Select(l => (l.Name, l.Kind, string.Join("x", l.InputShape), string.Join("x", l.OutputShape), l.Parameters, l.Flops)));
    }

    [Theory]
    [InlineData("[\"flaten\"]", "job.yaml:7: model[0]: unknown layer 'flaten'; did you mean 'flatten'?")]
    [InlineData("[{ \"dens\": 10 }]", "job.yaml:7: model[0]: unknown layer 'dens'; did you mean 'dense'?")]
    [InlineData("[{ \"dense\": 0 }]", "job.yaml:7: model[0].dense: 0 is out of range: expected 1 to 2147483647")]
    [InlineData("[{ \"dense\": \"ten\" }]", "job.yaml:7: model[0].dense: expected an integer, got 'ten'")]
    [InlineData("[{ \"dense\": {} }]", "job.yaml:7: model[0].dense: the key 'model[0].dense.out' is missing")]
    [InlineData("[\"dense\"]", "job.yaml:7: model[0].dense: the key 'model[0].dense.out' is missing")]
    [InlineData("[{ \"dense\": { \"out\": 3, \"biass\": true } }]", "job.yaml:7: unknown key 'model[0].dense.biass'; did you mean 'bias'?")]
    [InlineData("[{ \"dense\": { \"out\": 3, \"init\": \"he_norml\" } }]", "job.yaml:7: model[0].dense.init: unknown initialiser 'he_norml'; did you mean 'he_normal'?")]
    [InlineData("[{ \"dense\": 3, \"relu\": null }]", "job.yaml:7: model[0]: expected one layer, as its name or as a map from its name to its options, got a map with the keys dense, relu")]
    [InlineData("[{ \"relu\": 3 }]", "job.yaml:7: model[0].relu: 'relu' takes no options, got '3'")]
    [InlineData("[]", "job.yaml:7: model: expected a list of layers from the input to the output, got an empty list")]
    [InlineData("\"dense\"", "job.yaml:7: model: expected a list of layers from the input to the output, got 'dense'")]
    public void FromConfig_Mistake_NamesPlaceAndRemedy(string json, string message)
    {
        DistTrainException error = Assert.Throws<DistTrainException>(() => ModelSpec.FromConfig(Config.Json(json, "model")));

        Assert.Equal(message, error.Message);
        Assert.Equal(ExitCode.BadUsage, error.ExitCode);
    }

    [Theory]
    [InlineData("\"softmax_crossentropy\"", "job.yaml:7: loss: unknown loss 'softmax_crossentropy'; did you mean 'softmax_cross_entropy'?")]
    [InlineData("{ \"squared_error\": 2 }", "job.yaml:7: loss.squared_error: 'squared_error' takes named options, got '2'")]
    [InlineData("{ \"absolute_error\": { \"half\": true } }", "job.yaml:7: loss.absolute_error: 'absolute_error' takes no options, got a map")]
    public void LossFromConfig_Mistake_NamesPlaceAndRemedy(string json, string message) =>
        Assert.Equal(message, Assert.Throws<DistTrainException>(() => LossSpec.FromConfig(Config.Json(json, "loss"))).Message);

    [Fact]
    public void LossFromConfig_Names_AreRead()
    {
        Assert.Equal(Losses.SoftmaxCrossEntropy, LossSpec.FromConfig(Config.Json("\"softmax_cross_entropy\"", "loss")));
        Assert.Equal(Losses.SquaredError, LossSpec.FromConfig(Config.Json("\"squared_error\"", "loss")));
        Assert.Equal(Losses.HalfSquaredError, LossSpec.FromConfig(Config.Json("{ \"squared_error\": { \"half\": true } }", "loss")));
        Assert.Equal(Losses.Huber(0.5), LossSpec.FromConfig(Config.Json("{ \"huber\": { \"delta\": 0.5 } }", "loss")));
        Assert.Equal(Losses.Huber(0.5), LossSpec.FromConfig(Config.Json("{ \"huber\": 0.5 }", "loss")));
        Assert.Equal(Losses.Hinge(), LossSpec.FromConfig(Config.Json("\"hinge\"", "loss")));
    }

    [Fact]
    public void Build_WrongShape_NamesLayerGotAndWanted()
    {
        Refused(
            () => Model.Build(new([Layers.Tanh(), Layers.Dense(3)]), Losses.SoftmaxCrossEntropy, [1, 28, 28], 3, 0),
            "model: layer 1 (dense): got an input of shape [1, 28, 28], wanted one row of values per example, [n], or sequences, [time, n]; put 'flatten' before it");
        Refused(
            () => Model.Build(new([Layers.Dense(12)]), Losses.SoftmaxCrossEntropy, [4], 10, 0),
            "loss: softmax_cross_entropy: got a model output of shape [12], wanted [10] because the data has 10 classes; end the model with 'dense: 10'");
        Refused(
            () => Model.Build(new([Layers.Dense(12)]), Losses.SquaredError, [4], null, 1),
            "loss: squared_error: got a model output of shape [12], wanted [1] because the data has 1 target per example; end the model with 'dense: 1'");
        Refused(
            () => Model.Build(new([Layers.Dense(1)]), Losses.SoftmaxCrossEntropy, [4], null, 1),
            "loss: softmax_cross_entropy: wants class labels or a probability of each class, got data with one real target; use 'loss: squared_error' for regression");
        Refused(
            () => Model.Build(new([Layers.Flatten(), Layers.Relu()]), Losses.SquaredError, [4], null, 4),
            "model: no layer has parameters, so there is nothing to train; wanted at least one such as 'dense'");
        Refused(() => Model.Build(new([]), Losses.SquaredError, [4], null, 4), "model: got no layers, wanted at least one");
    }

    private static void Refused(Action build, string message)
    {
        DistTrainException error = Assert.Throws<DistTrainException>(build);
        Assert.Equal(message, error.Message);
        Assert.Equal(ExitCode.BadUsage, error.ExitCode);
    }
}
