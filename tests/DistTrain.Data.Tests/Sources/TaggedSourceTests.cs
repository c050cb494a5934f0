using DistTrain.Core;

namespace DistTrain.Data.Tests.Sources;

public sealed class TaggedSourceTests : IDisposable
{
    private const string Train = "the\tDET\ncat\tNOUN\nsat\tVERB\n\n\nThe\tDET\ndog\tNOUN\nthe\tDET\ncat\tNOUN\nThe\tDET\n";

    private readonly TestFiles _files = new();

    public void Dispose() => _files.Dispose();

    private LoadedData Load(string text, string test, DataSource? source = null) =>
        DatasetLoader.Load((source ?? new()) with { Name = "tagged", Path = _files.Write("train.tsv", text), TestPath = _files.Write("test.tsv", test) }, 1);

    [Fact]
    public void Load_Sentences_ArePaddedAndCut()
    {
        LoadedData data = Load(Train, "a\tDET\n", new() { Length = 4 });
        Assert.Equal(["DET", "NOUN", "VERB"], data.ClassNames);
        Assert.Equal([4, 1], data.Train.InputShape.ToArray());
        Assert.Equal(TargetSpec.Classes(3, 4), data.Train.Target);
        Assert.Equal(3, data.Train.Count);
        // Each twice, so in order of spelling: The 2, cat 3, the 4; sat and dog are there once.
        Assert.Equal([4, 3, 1, 0, 2, 1, 4, 3, 2, 0, 0, 0], TestFiles.Inputs(data.Train));
        Assert.Equal([0, 1, 2, -1, 0, 1, 0, 1, 0, -1, -1, -1], TestFiles.Labels(data.Train));
        Assert.Contains("ids of 5 words", data.Summary, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_TestWords_FallBackToLowerCaseThenUnknown()
    {
        LoadedData data = Load(Train, "Cat\tNOUN\nTHE\tDET\nThe\tDET\nSat\tVERB\nbird\tNOUN\n\n", new() { Length = 5 });
        Assert.Equal([3, 4, 2, 1, 1], TestFiles.Inputs(data.Test!));
        Assert.Equal([1, 0, 0, 2, 1], TestFiles.Labels(data.Test!));
        data = Load(Train, "Sat\tVERB\n", new() { Length = 1, MinCount = 1 });
        Assert.True(TestFiles.Inputs(data.Test!)[0] > 1);
    }

    [Fact]
    public void Load_PrefixAndSuffix_AreTheCharactersAtBothEnds()
    {
        // a 2, b 3, c 4.
        LoadedData data = Load("ab\tX\nabc\tX\nab\tX\n", "abcab\tX\nc\tX\nzb\tX\n", new() { Length = 3, Prefix = 2, Suffix = 3 });
        Assert.Equal([3, 6], data.Test!.InputShape.ToArray());
        Assert.Equal(
            [
                1, 2, 3, 4, 2, 3,
                1, 4, 0, 0, 0, 4,
                1, 1, 3, 0, 1, 3,
            ],
            TestFiles.Inputs(data.Test));
        Assert.Contains("ids of 3 words and 5 characters", data.Summary, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_NoTestFile_SplitsSentences()
    {
        string text = string.Concat(Enumerable.Range(0, 50).Select(i => $"w{i}\tX\nend\tY\n\n"));
        LoadedData data = DatasetLoader.Load(new() { Name = "tagged", Path = _files.Write("t", text), MinCount = 1, Length = 2 }, 3);
        Assert.Equal((40, 10), (data.Train.Count, data.Test!.Count));
        Assert.Equal(Enumerable.Repeat<int[]>([0, 1], 10).SelectMany(l => l), TestFiles.Labels(data.Test));
        Assert.Equal(50, TestFiles.Inputs(data.Train).Concat(TestFiles.Inputs(data.Test)).Where((_, i) => i % 2 == 0).Distinct().Count());
    }

    [Fact]
    public void Load_GzipCarriageReturnsAndSameContent_HaveTheirHash()
    {
        LoadedData plain = Load(Train, "a\tDET\n");
        LoadedData packed = DatasetLoader.Load(
            new() { Name = "tagged", Path = _files.Write("g", TestFiles.Gzip(System.Text.Encoding.UTF8.GetBytes(Train))), TestPath = _files.Write("h", "a\tDET\n") }, 9);
        Assert.Equal(plain.DataHash, packed.DataHash);
        Assert.NotEqual(plain.DataHash, Load(Train, "b\tDET\n").DataHash);
        Assert.NotEqual(plain.DataHash, Load(Train, "a\tDET\n", new() { MinCount = 1 }).DataHash);
        LoadedData windows = Load(Train.ReplaceLineEndings("\r\n"), "a\tDET\n");
        Assert.Equal(TestFiles.Inputs(plain.Train), TestFiles.Inputs(windows.Train));
    }

    [Theory]
    [InlineData("a\tX\nb\n", "a\tX\n", "train.tsv:2: 'b'; expected a word, a tab and its tag")]
    [InlineData("a\tX\n\n\tX\n", "a\tX\n", "train.tsv:3:")]
    [InlineData("a\tX\n", "a\tX\n\nb\tY\tZ\n", "test.tsv:3:")]
    [InlineData("a\tX\n", "\na\tY\n", "test.tsv:2: 'Y' is a tag that")]
    [InlineData("\n\n", "a\tX\n", "train.tsv: no words")]
    public void Load_BadLines_AreNamed(string train, string test, string expected)
    {
        var e = Assert.Throws<DistTrainException>(() => Load(train, test));
        Assert.Equal(ExitCode.BadData, e.ExitCode);
        Assert.Contains(expected, e.Message, StringComparison.Ordinal);
    }
}
