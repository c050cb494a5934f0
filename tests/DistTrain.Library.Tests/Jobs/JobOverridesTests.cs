using DistTrain.Core;
using DistTrain.Jobs;
using DistTrain.Nn;
using DistTrain.Optim;

namespace DistTrain.Tests.Jobs;

public class JobOverridesTests
{
    private const string Text = "data: digits\nmodel: [flatten, dense: 64, relu, dense: 10]\noptimizer: { adam: { learning_rate: 0.1 } }\n";

    [Fact]
    public void Set_ValueInMap_ReplacesItAlone()
    {
        var adam = (AdamSpec)Parse("optimizer.adam.beta1=0.5").Optimizer;
        Assert.Equal((0.1, 0.5), (adam.LearningRate, adam.Beta1));
    }

    [Fact]
    public void Set_AbsentSection_IsMade() => Assert.Equal(3, Parse("training.epochs=3").Training.Epochs);

    [Fact]
    public void Set_SameKeyTwice_LastWins() => Assert.Equal(5, Parse("training.epochs=3", "training.epochs=5").Training.Epochs);

    [Fact]
    public void Set_OtherChoice_ReplacesTheFirst() => Assert.Equal(new SgdSpec(LearningRate: 0.5), Parse("optimizer.sgd.learning_rate=0.5").Optimizer);

    [Fact]
    public void Set_OptionOfChoiceWrittenAsWord_IsAdded() => Assert.Equal(new CosineSchedule(7), Parse("schedule=cosine", "schedule.cosine.warmup_steps=7").Schedule);

    [Theory]
    [InlineData("model.1.dense=32")]
    [InlineData("model[1].dense=32")]
    [InlineData("model=[flatten, dense: 32, relu, dense: 10]")]
    public void Set_Layer_IsReplaced(string assignment) =>
        Assert.Equal(new ModelSpec([Layers.Flatten(), Layers.Dense(32), Layers.Relu(), Layers.Dense(10)]), Parse(assignment).Model);

    [Fact]
    public void Set_Null_RestoresTheDefault() => Assert.Equal(AdamSpec.Adam, Parse("optimizer=null").Optimizer);

    [Fact]
    public void Set_ValueWithEqualsSign_KeepsIt() => Assert.Equal("a=b.csv", Parse("data={ path: a=b.csv }").Data.Path);

    [Theory]
    [InlineData("training.epochs", "--set 'training.epochs': expected key=value, such as training.epochs=5")]
    [InlineData("=5", "--set '=5': expected key=value, such as training.epochs=5")]
    [InlineData("training..epochs=5", "--set 'training..epochs': a key is empty; expected a dotted path such as training.epochs")]
    [InlineData("training.epoch=5", "--set: unknown key 'training.epoch'; did you mean 'epochs'?")]
    [InlineData("training.epochs=many", "--set: training.epochs: expected an integer, got 'many'")]
    [InlineData("model.9.dense=5", "--set 'model.9.dense': '9' is no item of a list of 4; items count from 0")]
    [InlineData("model.x=5", "--set 'model.x': 'x' is no item of a list of 4; items count from 0")]
    public void Set_BadAssignment_IsRefused(string assignment, string expected)
    {
        DistTrainException e = Assert.Throws<DistTrainException>(() => Parse(assignment));
        Assert.Equal((ExitCode.BadUsage, expected), (e.ExitCode, e.Message));
    }

    [Fact]
    public void Set_BrokenYaml_NamesTheOption() =>
        Assert.StartsWith("--set training: not valid YAML: ", Assert.Throws<DistTrainException>(() => Parse("training={epochs: [")).Message, StringComparison.Ordinal);

    private static Job Parse(params string[] overrides) => JobReader.Parse(Text, "job.yaml", overrides);
}
