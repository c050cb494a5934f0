using DistTrain.Core.Config;

namespace DistTrain.Core.Tests.Config;

public class ConfigNodeTests
{
    private static ConfigNode Map(params (string Key, string? Value)[] entries)
    {
        ConfigNode map = ConfigNode.NewMap("optimizer", "job.yaml:3");
        foreach ((string key, string? value) in entries) map.Set(key, ConfigNode.NewScalar(value, $"optimizer.{key}", "job.yaml:4"));
        return map;
    }

    private static string Message(Action read) => Assert.Throws<DistTrainException>(read).Message;

    [Fact]
    public void UnknownKey_NearAKnownOne_NamesPlaceKeyAndNearest()
    {
        ConfigNode map = Map(("learning_rat", "1"));
        map.Number("learning_rate", 0.1);
        Assert.Equal("job.yaml:4: unknown key 'optimizer.learning_rat'; did you mean 'learning_rate'?", Message(map.RefuseUnknownKeys));
    }

    [Fact]
    public void UnknownKey_NearNothing_ListsWhatIsAllowed()
    {
        ConfigNode map = Map(("zzzzzz", "1"));
        map.Number("momentum", 0);
        map.Number("nesterov", 0);
        Assert.Equal("job.yaml:4: unknown key 'optimizer.zzzzzz'; allowed: momentum, nesterov", Message(map.RefuseUnknownKeys));
    }

    [Theory]
    [InlineData("200MB", 200_000_000)]
    [InlineData("1.5 GiB", 1_610_612_736)]
    [InlineData("7B", 7)]
    public void Bytes_OfNumberAndUnit_AreRead(string text, long bytes) => Assert.Equal(bytes, Map(("x", text)).Require("x").AsBytes());

    [Theory]
    [InlineData("200")]
    [InlineData("-1MB")]
    [InlineData("0MB")]
    [InlineData("many MB")]
    public void Bytes_WithoutUnitOrNumber_AreRefused(string text) =>
        Assert.Contains("such as 200MB", Assert.Throws<DistTrainException>(() => Map(("x", text)).Require("x").AsBytes()).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("abc", "job.yaml:4: optimizer.x: expected an integer, got 'abc'")]
    [InlineData("1.5", "job.yaml:4: optimizer.x: expected an integer, got '1.5'")]
    [InlineData("0", "job.yaml:4: optimizer.x: 0 is out of range: expected 1 to 9")]
    [InlineData("10", "job.yaml:4: optimizer.x: 10 is out of range: expected 1 to 9")]
    public void Integer_OfWrongText_SaysWhatIsExpected(string text, string expected)
    {
        Assert.Equal(expected, Message(() => Map(("x", text)).Integer("x", 0, 1, 9)));
    }

    [Theory]
    [InlineData("nan")]
    [InlineData("inf")]
    [InlineData("1e999")]
    [InlineData("x")]
    public void Number_ThatIsNotFinite_IsRefused(string text)
    {
        Assert.Contains("expected a number", Message(() => Map(("x", text)).Number("x", 0)));
    }

    [Theory]
    [InlineData("500ms", 0.5)]
    [InlineData("3s", 3)]
    [InlineData("5 minutes", 300)]
    [InlineData("1.5 h", 5400)]
    public void Duration_OfNumberAndUnit_IsRead(string text, double seconds)
    {
        Assert.Equal(seconds, Map(("x", text)).Duration("x", default).TotalSeconds);
    }

    [Fact]
    public void Values_ThatAreAbsentOrNull_GiveTheFallback()
    {
        ConfigNode map = Map(("x", null));
        Assert.Equal(7, map.Integer("x", 7));
        Assert.Equal("a", map.Text("y", "a"));
        Assert.True(map.Flag("z", true));
        map.RefuseUnknownKeys();
    }

    [Fact]
    public void Require_OfAMissingKey_NamesIt()
    {
        Assert.Equal("job.yaml:3: optimizer: the key 'optimizer.name' is missing", Message(() => Map().Require("name")));
    }

    [Theory]
    [InlineData("learing_rate", "learning_rate")]
    [InlineData("DENSE", "dense")]
    [InlineData("relu6", "relu")]
    [InlineData("convolution", null)]
    public void NearestName_OfASlip_FindsWhatWasMeant(string name, string? expected)
    {
        Assert.Equal(expected, NearestName.Of(name, ["learning_rate", "dense", "relu", "tanh"]));
    }

    [Fact]
    public void Hint_ForAVeryLongName_TakesLittleMemory()
    {
        string name = new('x', 1 << 20);
        long before = GC.GetAllocatedBytesForCurrentThread();
        _ = NearestName.Of(name, ["weights", "momentum"]);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 8 << 20);
    }

    [Fact]
    public void Path_WithinANode_GoesOnFromIt()
    {
        ConfigNode map = ConfigNode.NewMap("model", "j:1"), list = ConfigNode.NewList("[2]", "j:1", map);
        Assert.Equal("model[2].out", ConfigNode.NewScalar("1", ".out", "j:1", list).Path);
    }
}
