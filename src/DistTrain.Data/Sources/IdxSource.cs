using System.Globalization;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>The MNIST family and anything else in IDX files.</summary>
internal static class IdxSource
{
    private const int MnistClasses = 10;

    // Where Debian's package dataset-fashion-mnist puts its files.
    private const string DebianFashionMnist = "/usr/share/datasets/fashion-mnist";

    private static readonly string[] FashionNames =
        ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

    public static LoadedData Load(DataSource source, ulong seed)
    {
        DatasetLoader.Allow(source, "path", "test_path", "labels_path", "classes", "standardize", "scale", "test_fraction");
        DatasetLoader.CheckScale(source);
        if (source.Classes is < 1 or > 256) throw new DistTrainException(ExitCode.BadUsage, $"data.classes is {source.Classes}; labels of one byte allow 1 to 256");
        string path = source.Path ?? DefaultPath(source);
        (string Images, string Labels) files = TrainFiles(source, path);
        (string Images, string Labels)? testFiles = TestFiles(source, path);
        if (testFiles != null && source.TestFraction != null) throw new DistTrainException(ExitCode.BadUsage, $"data.test_fraction is given, and the test examples are in {testFiles.Value.Images}");
        int? classes = source.Classes ?? (source.Name == "idx" ? null : MnistClasses);
        float factor = (float)(source.Scale ?? 1.0 / 255);
        ImageDataset train = Read(files, classes, factor);
        ImageDataset? test = testFiles == null ? null : Read(testFiles.Value, train.Target.Width, factor);
        if (test != null && !test.InputShape.SequenceEqual(train.InputShape))
        {
            throw new DistTrainException(ExitCode.BadData, $"{testFiles!.Value.Images}: images of [{string.Join(", ", test.InputShape)}]; {files.Images} has [{string.Join(", ", train.InputShape)}]");
        }

        TrainTestSplit? split = test == null ? new TrainTestSplit(train.Count, seed, source.TestFraction ?? TrainTestSplit.DefaultTestFraction) : null;
        if (source.Standardize)
        {
            test = test?.Standardized(train, split);
            train = train.Standardized(train, split);
        }

        IReadOnlyList<string> names = source.Name == "fashion-mnist" && train.Target.Width == MnistClasses
            ? FashionNames
            : [.. Enumerable.Range(0, train.Target.Width).Select(i => i.ToString(CultureInfo.InvariantCulture))];
        return split == null
            ? DatasetLoader.Describe(source.Name!, train, test, names, path)
            : DatasetLoader.Describe(source.Name!, split.Train(train), split.TestCount > 0 ? split.Test(train) : null, names, path);
    }

    private static string DefaultPath(DataSource source)
    {
        if (source.Name == "fashion-mnist" && Directory.Exists(DebianFashionMnist)) return DebianFashionMnist;
        throw new DistTrainException(ExitCode.BadUsage, $"data.path is missing; '{source.Name}' needs the directory with train-images-idx3-ubyte[.gz] and its three companions{Hint(source)}");
    }

    private static (string Images, string Labels) TrainFiles(DataSource source, string path)
    {
        if (File.Exists(path)) return (path, source.LabelsPath ?? IdxNames.LabelsFor(path));
        if (!Directory.Exists(path))
        {
            throw new DistTrainException(ExitCode.BadData, $"{path}: no such directory; expected train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz] and the same with t10k in it{Hint(source)}");
        }

        if (source.LabelsPath != null) throw new DistTrainException(ExitCode.BadUsage, $"data.labels_path belongs to a data.path that is a file of images; {path} is a directory");
        return IdxNames.Find(path, "train")
            ?? throw new DistTrainException(ExitCode.BadData, $"{Path.Combine(path, "train-images-idx3-ubyte")}: no such file (nor with .gz){Hint(source)}");
    }

    private static (string Images, string Labels)? TestFiles(DataSource source, string path)
    {
        if (source.TestPath == null) return Directory.Exists(path) ? IdxNames.Find(path, "t10k") : null;
        if (File.Exists(source.TestPath)) return (source.TestPath, IdxNames.LabelsFor(source.TestPath));
        return IdxNames.Find(source.TestPath, "t10k")
            ?? throw new DistTrainException(ExitCode.BadData, $"{Path.Combine(source.TestPath, "t10k-images-idx3-ubyte")}: no such file (nor with .gz)");
    }

    private static ImageDataset Read((string Images, string Labels) files, int? classes, float factor)
    {
        using DataFile images = DataFile.Open(files.Images);
        using DataFile labels = DataFile.Open(files.Labels);
        return ImageDataset.Join(IdxFile.Read(images, 2, 4), IdxFile.Read(labels, 1, 1), classes, factor);
    }

    private static string Hint(DataSource source) => source.Name == "fashion-mnist"
        ? $" (on Debian and Ubuntu, 'apt-get install dataset-fashion-mnist' puts them in {DebianFashionMnist})"
        : "";
}
