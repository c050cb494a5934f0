using DistTrain.Core;

namespace DistTrain.Data.Tests.Sources;

public class DatasetLoaderTests
{
    [Fact]
    public void Load_UnknownName_ListsWhatThereIsWithTheNearest()
    {
        var e = Assert.Throws<DistTrainException>(() => DatasetLoader.Load(new DataSource { Name = "fashon-mnist" }, 1));
        Assert.Equal(ExitCode.BadUsage, e.ExitCode);
        Assert.Equal("data.name is 'fashon-mnist'; did you mean 'fashion-mnist'? there are: digits, mnist, fashion-mnist, idx, cifar-10, cifar-100, images, numpy, csv, text, tagged", e.Message);
        Assert.Equal(["digits", "mnist", "fashion-mnist", "idx", "cifar-10", "cifar-100", "images", "numpy", "csv", "text", "tagged"], DatasetLoader.Names);
    }

    [Fact]
    public void Load_PathThatTellsNoFormat_AsksForTheName()
    {
        var e = Assert.Throws<DistTrainException>(() => DatasetLoader.Load(new DataSource { Path = "some.parquet" }, 1));
        Assert.Equal(ExitCode.BadUsage, e.ExitCode);
        Assert.Contains("'some.parquet', which doesn't tell its format; give data.name", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a.csv", "a.csv: no such file")]
    [InlineData("a.tsv.gz", "a.tsv.gz: no such file")]
    [InlineData("train-images-idx3-ubyte.gz", "train-images-idx3-ubyte.gz: no such directory")]
    public void Load_MissingPath_IsNamedByItsFormatsReader(string path, string message)
    {
        var e = Assert.Throws<DistTrainException>(() => DatasetLoader.Load(new DataSource { Path = path }, 1));
        Assert.Equal(ExitCode.BadData, e.ExitCode);
        Assert.StartsWith(message, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ExpandHome_Tilde_IsTheHomeDirectory()
    {
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        Assert.Equal(home, DatasetLoader.ExpandHome("~"));
        Assert.Equal(Path.Combine(home, "data/x"), DatasetLoader.ExpandHome("~/data/x"));
        Assert.Equal("~other/x", DatasetLoader.ExpandHome("~other/x"));
        Assert.Equal("a/~/x", DatasetLoader.ExpandHome("a/~/x"));
        Assert.Null(DatasetLoader.ExpandHome(null));
    }
}
