using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// Images in a directory for each class: <c>path/CLASS/*.png</c> (or .jpg, .jpeg), held out by chance, or with a test part
/// of its own as <c>path/train/CLASS</c> and <c>path/test/CLASS</c>. All have the size of the first, which also decides
/// between grey and colour.
/// </summary>
internal static class ImageFolderSource
{
    private static readonly string[] Extensions = [".png", ".jpg", ".jpeg"];

    public static LoadedData Load(DataSource source, ulong seed)
    {
        DatasetLoader.Allow(source, "path", "standardize", "scale", "test_fraction");
        DatasetLoader.CheckScale(source);
        if (source.Path == null) throw new DistTrainException(ExitCode.BadUsage, "data.path is missing; an images source needs a directory with one of images for each class");
        string trainPath = Path.Combine(source.Path, "train"), testPath = Path.Combine(source.Path, "test");
        bool separate = Directory.Exists(trainPath) && Directory.Exists(testPath);
        if (separate && source.TestFraction != null) throw new DistTrainException(ExitCode.BadUsage, $"data.test_fraction is given, and the test examples are in {testPath}");
        string root = separate ? trainPath : source.Path;
        string[] classes = ClassesIn(root);
        float factor = (float)(source.Scale ?? 1.0 / 255);
        ImageDataset train = Read(root, classes, factor, like: null);
        if (separate && ClassesIn(testPath).Except(classes, StringComparer.Ordinal).FirstOrDefault() is { } unknown) throw new DistTrainException(ExitCode.BadData, $"{Path.Combine(testPath, unknown)}: a class that {trainPath} doesn't have");
        ImageDataset? test = separate ? Read(testPath, classes, factor, train) : null;
        TrainTestSplit? split = separate ? null : new TrainTestSplit(train.Count, seed, source.TestFraction ?? TrainTestSplit.DefaultTestFraction);
        if (source.Standardize) (test, train) = (test?.Standardized(train, split), train.Standardized(train, split));
        return split == null
            ? DatasetLoader.Describe("images", train, test, classes, source.Path)
            : DatasetLoader.Describe("images", split.Train(train), split.TestCount > 0 ? split.Test(train) : null, classes, source.Path);
    }

    private static string[] ClassesIn(string directory)
    {
        if (!Directory.Exists(directory)) throw new DistTrainException(ExitCode.BadData, $"{directory}: no such directory");
        string[] classes = [.. Directory.GetDirectories(directory).Select(d => Path.GetFileName(d)).Where(n => n[0] != '.').Order(StringComparer.Ordinal)];
        return classes.Length > 0 ? classes : throw new DistTrainException(ExitCode.BadData, $"{directory}: no directories in it; expected one of images for each class");
    }

    private static ImageDataset Read(string root, string[] classes, float factor, ImageDataset? like)
    {
        (string Path, byte Label)[] files = [.. classes.SelectMany((name, label) => ImagesIn(Path.Combine(root, name)).Select(f => (f, checked((byte)label))))];
        if (files.Length == 0) throw new DistTrainException(ExitCode.BadData, $"{root}: no images in its directories; expected {string.Join(", ", Extensions)}");
        DecodedImage first = DecodedImage.Read(files[0].Path, colour: like == null ? null : like.InputShape[0] == 3);
        int size = first.Pixels.Length;
        if ((long)size * files.Length > Array.MaxLength) throw new DistTrainException(ExitCode.BadData, $"{root}: {files.Length} images of {size} bytes; at most {Array.MaxLength} bytes are read");
        MemoryGuard.Check(root, (long)size * files.Length);
        var pixels = new byte[size * files.Length];
        int[] shape = like == null ? [first.Channels, first.Height, first.Width] : [.. like.InputShape];
        for (int i = 0; i < files.Length; i++)
        {
            DecodedImage image = i == 0 ? first : DecodedImage.Read(files[i].Path, first.Channels == 3);
            if (image.Height != shape[1] || image.Width != shape[2]) throw new DistTrainException(ExitCode.BadData, $"{files[i].Path}: {image.Width} x {image.Height} pixels; the others have {shape[2]} x {shape[1]}");
            image.Pixels.CopyTo(pixels, (long)i * size);
        }

        byte[] labels = [.. files.Select(f => f.Label)];
        using var hasher = new ContentHasher($"images {string.Join('x', shape)} {string.Join('/', classes)}");
        hasher.Append(pixels);
        hasher.Append(labels);
        return new ImageDataset([new ImageRecords(ByteStore.Of(pixels), 0, size)], labels, [.. shape], classes.Length, hasher.Finish(), factor);
    }

    private static IEnumerable<string> ImagesIn(string directory) => !Directory.Exists(directory)
        ? []
        : Directory.GetFiles(directory).Where(f => Extensions.Contains(Path.GetExtension(f).ToLowerInvariant())).OrderBy(f => Path.GetFileName(f), StringComparer.Ordinal);
}
