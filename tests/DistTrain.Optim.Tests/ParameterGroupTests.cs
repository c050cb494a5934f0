using DistTrain.Core;
using DistTrain.Tests;

namespace DistTrain.Optim.Tests;

public sealed class ParameterGroupTests
{
    private static readonly string[] Tensors = ["0.weight", "0.bias", "2.0.weight", "2.0.bias", "20.weight"];

    [Theory]
    [InlineData("*.bias", "0.bias 2.0.bias")]
    [InlineData("2", "2.0.weight 2.0.bias")]
    [InlineData("2.0", "2.0.weight 2.0.bias")]
    [InlineData("2*", "2.0.weight 2.0.bias 20.weight")]
    [InlineData("0.weight", "0.weight")]
    [InlineData("*", "0.weight 0.bias 2.0.weight 2.0.bias 20.weight")]
    [InlineData("weight", "")]
    public void Contains_NamesLayersAndPatterns_TakesWhatItSays(string match, string expected) =>
        Assert.Equal(expected, string.Join(' ', Tensors.Where(new ParameterGroup(match).Contains)));

    [Fact]
    public void Of_SeveralGroups_TheFirstThatMatchesWins()
    {
        var groups = new ParameterGroups([new("0", Frozen: true), new("*.bias", 0.5, 0)]);

        Assert.Equal([groups.List[0], groups.List[0], null, groups.List[1], null], groups.Of(Tensors).AsEnumerable());
    }

    [Fact]
    public void Of_AGroupOfNoUse_IsRefusedByName()
    {
        Assert.Equal(
            "optimizer: the group '*.biass' is of no use: it matches no tensor; there are 0.weight, 0.bias, 2.0.weight, 2.0.bias, 20.weight",
            Assert.Throws<DistTrainException>(() => new ParameterGroups([new("*.biass")]).Of(Tensors)).Message);
        Assert.EndsWith(
            "an earlier group takes all that it matches",
            Assert.Throws<DistTrainException>(() => new ParameterGroups([new("*"), new("0")]).Of(Tensors)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void FromConfig_Groups_AreRead()
    {
        OptimizerSpec spec = OptimizerSpec.FromConfig(Config.Json(
            """{ "sgd": { "groups": [{ "match": "*.bias", "learning_rate_scale": 2, "weight_decay": 0 }, { "match": "0", "frozen": true }] } }""", "optimizer"));

        Assert.Equal(new ParameterGroups([new("*.bias", 2, 0), new("0", Frozen: true)]), spec.Groups);
        Assert.Contains(
            "macth'", Assert.Throws<DistTrainException>(() => OptimizerSpec.FromConfig(Config.Json("""{ "sgd": { "groups": [{ "match": "0", "macth": 1 }] } }""", "optimizer"))).Message,
            StringComparison.Ordinal);
    }
}
