using DistTrain.Core.Config;

namespace DistTrain.Core.Tests;

public sealed class NamedChoiceTests
{
    private static readonly string[] Allowed = ["dense", "relu"];

    [Fact]
    public void Read_NameAlone_HasEmptyOptions()
    {
        NamedChoice choice = NamedChoice.Read(Scalar("relu", "model[0]"), "layer", Allowed);

        Assert.Equal("relu", choice.Name);
        Assert.False(choice.HasMainValue);
        Assert.Equal("model[0].relu", choice.Options.Path);
        choice.RefuseOptions();
        choice.RefuseUnknown();
    }

    [Fact]
    public void Read_MapOfOneName_HasItsValueAsOptions()
    {
        NamedChoice choice = NamedChoice.Read(Map(("dense", Scalar("10", "model[0].dense"))), "layer", Allowed);

        Assert.Equal("dense", choice.Name);
        Assert.True(choice.HasMainValue);
        Assert.Equal(10, choice.Options.AsInteger());
        Assert.Equal("j:1: model[0].dense: 'dense' takes no options, got '10'", Assert.Throws<DistTrainException>(choice.RefuseOptions).Message);
    }

    [Fact]
    public void Read_UnknownName_SuggestsTheNearest()
    {
        DistTrainException error = Assert.Throws<DistTrainException>(() => NamedChoice.Read(Scalar("rleu", "model[0]"), "layer", Allowed));

        Assert.Equal("j:1: model[0]: unknown layer 'rleu'; did you mean 'relu'?", error.Message);
    }

    [Fact]
    public void Read_TwoNamesOrAList_IsRefused()
    {
        Assert.Throws<DistTrainException>(() => NamedChoice.Read(Map(("dense", Scalar("10", "x")), ("relu", Scalar(null, "x"))), "layer", Allowed));
        Assert.Throws<DistTrainException>(() => NamedChoice.Read(ConfigNode.NewList("model[0]", "j:1"), "layer", Allowed));
    }

    private static ConfigNode Scalar(string? text, string path) => ConfigNode.NewScalar(text, path, "j:1");

    private static ConfigNode Map(params (string Key, ConfigNode Value)[] entries)
    {
        ConfigNode map = ConfigNode.NewMap("model[0]", "j:1");
        foreach ((string key, ConfigNode value) in entries) map.Set(key, value);
        return map;
    }
}
