using System.Text;
using DistTrain.Core;

namespace DistTrain.Data.Tests.Sources;

public sealed class TextSourceTests : IDisposable
{
    private readonly TestFiles _files = new();

    public void Dispose() => _files.Dispose();

    private LoadedData Load(string text, DataSource source) =>
        DatasetLoader.Load(source with { Name = "text", Path = _files.Write("t.txt", text) }, 1);

    [Fact]
    public void Load_Windows_AreTheTextAndItsNextCharacters()
    {
        // Ids by code point: a 0, b 1, c 2, é 3, 😀 4.
        LoadedData data = Load("abc😀éabca", new() { Context = 3, TestFraction = 0 });
        Assert.Equal(["a", "b", "c", "é", "😀"], data.ClassNames);
        Assert.Equal(TargetSpec.Classes(5, 3), data.Train.Target);
        Assert.Equal([3], data.Train.InputShape.ToArray());
        Assert.Null(data.Test);
        int[] text = [0, 1, 2, 4, 3, 0, 1, 2, 0];
        Assert.Equal(6, data.Train.Count);
        Assert.Equal(Enumerable.Range(0, 6).SelectMany(i => text[i..(i + 3)]).Select(i => (float)i), TestFiles.Inputs(data.Train));
        Assert.Equal(Enumerable.Range(0, 6).SelectMany(i => text[(i + 1)..(i + 4)]), TestFiles.Labels(data.Train));
        Assert.Throws<ArgumentOutOfRangeException>(() => data.Train.GatherLabels([6], new int[3]));
        Assert.Throws<ArgumentException>(() => data.Train.GatherLabels([0], new int[1]));
    }

    [Theory]
    [InlineData(1, 71)]
    [InlineData(2, 36)]
    [InlineData(7, 11)]
    public void Load_Stride_SpacesTheTrainingWindows(int stride, int count)
    {
        string text = string.Concat(Enumerable.Range(0, 75).Select(i => (char)('0' + i)));
        LoadedData data = Load(text, new() { Context = 4, Stride = stride, TestFraction = 0 });
        Assert.Equal(count, data.Train.Count);
        Assert.Equal(Enumerable.Range(0, count).Select(i => (float)(i * stride)), TestFiles.Inputs(data.Train).Where((_, i) => i % 4 == 0));
    }

    [Fact]
    public void Load_HeldOut_IsTheEndInWindowsThatDoNotOverlap()
    {
        string text = string.Concat(Enumerable.Range(0, 100).Select(i => (char)(0x100 + i)));
        LoadedData data = Load(text, new() { Context = 4 });
        Assert.Equal(90 - 4, data.Train.Count);
        // The end has 10 characters: two windows of 4, each with a next one.
        Assert.Equal([90f, 91, 92, 93, 94, 95, 96, 97], TestFiles.Inputs(data.Test!));
        Assert.Equal([91, 92, 93, 94, 95, 96, 97, 98], TestFiles.Labels(data.Test!));
        Assert.NotEqual(data.DataHash, Load(text, new() { Context = 5 }).DataHash);
    }

    [Fact]
    public void Load_ManyCharacters_KeepsEveryId()
    {
        string text = string.Concat(Enumerable.Range(0, 700).Select(i => (char)(0x1000 + (i * 37 % 700))));
        LoadedData data = Load(text, new() { Context = 2, Stride = 2, TestFraction = 0 });
        Assert.Equal(700, data.Train.Target.Width);
        Assert.Equal(Enumerable.Range(0, 698).Select(i => (float)(i * 37 % 700)), TestFiles.Inputs(data.Train));
    }

    [Fact]
    public void Load_GzipAndTestFile_SharesTheVocabulary()
    {
        byte[] bytes = Encoding.UTF8.GetBytes("\uFEFFaaaccc");
        var source = new DataSource { Name = "text", Context = 2, TestPath = _files.Write("test", "bab") };
        LoadedData plain = DatasetLoader.Load(source with { Path = _files.Write("p", bytes) }, 1);
        LoadedData packed = DatasetLoader.Load(source with { Path = _files.Write("g", TestFiles.Gzip(bytes)) }, 2);
        Assert.Equal(["a", "b", "c"], plain.ClassNames);
        Assert.Equal([1, 0], TestFiles.Inputs(plain.Test!));
        Assert.Equal([0, 1], TestFiles.Labels(plain.Test!));
        Assert.Equal(plain.DataHash, packed.DataHash);
        Assert.NotEqual(plain.DataHash, DatasetLoader.Load(source with { Path = _files.Write("q", "aaaccb") }, 1).DataHash);
    }

    [Fact]
    public void Load_CharactersAcrossPieces_AreWhole()
    {
        // Three bytes each: no piece of a power of two ends with a whole one.
        string text = new('€', 70_000);
        LoadedData data = Load(text + "x", new() { Context = 1, TestFraction = 0 });
        Assert.Equal(["x", "€"], data.ClassNames);
        Assert.Equal(70_000, data.Train.Count);
    }

    [Theory]
    [InlineData("ab", 2, "2 characters to train on are too few")]
    [InlineData("abcdefghij", 4, "shorter than one window")]
    public void Load_TooShort_Refuses(string text, int context, string expected)
    {
        var e = Assert.Throws<DistTrainException>(() => Load(text, new() { Context = context }));
        Assert.Equal(ExitCode.BadData, e.ExitCode);
        Assert.Contains(expected, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_WhatMakesNoSense_Refuses()
    {
        var e = Assert.Throws<DistTrainException>(() => DatasetLoader.Load(new() { Name = "text", Path = _files.Write("b", [0x61, 0x62, 0xE2, 0x28, 0xA1]) }, 1));
        Assert.Contains("b: offset 2: byte 0xe2", e.Message, StringComparison.Ordinal);
        e = Assert.Throws<DistTrainException>(() => Load("abc", new() { Header = true }));
        Assert.Equal("data.header has no meaning for 'text'", e.Message);
        e = Assert.Throws<DistTrainException>(() => Load("abc", new() { Vocabulary = "character" }));
        Assert.Equal(ExitCode.BadUsage, e.ExitCode);
        e = Assert.Throws<DistTrainException>(() => Load("abc", new() { TestPath = "x", TestFraction = 0.5 }));
        Assert.Equal(ExitCode.BadUsage, e.ExitCode);
    }
}
