using System.IO.Compression;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// NumPy arrays: a <c>.npz</c> archive, or a directory of <c>.npy</c> files, with x and y, or with x_train, y_train, x_test
/// and y_test; or one <c>.npy</c> with <c>labels_path</c>.
/// </summary>
internal static class NumpySource
{
    public static LoadedData Load(DataSource source, ulong seed)
    {
        DatasetLoader.Allow(source, "path", "labels_path", "classes", "standardize", "scale", "test_fraction");
        DatasetLoader.CheckScale(source);
        if (source.Path == null) throw new DistTrainException(ExitCode.BadUsage, "data.path is missing; a numpy source needs a .npz file, a .npy file or a directory of those");
        Func<string, NpyFile?> find = Finder(source);
        NpyFile? x = find("x_train"), y = find("y_train");
        bool split = x == null && y == null;
        if (split) (x, y) = (find("x"), find("y"));
        if (x == null || y == null) throw new DistTrainException(ExitCode.BadData, $"{source.Path}: no array '{(split ? x == null ? "x" : "y" : x == null ? "x_train" : "y_train")}'; expected x and y, or x_train, y_train, x_test and y_test");
        var train = new NpyDataset(x, y, source.Classes, source.Scale);
        NpyDataset? test = null;
        if (!split && find("x_test") is { } testX)
        {
            if (source.TestFraction != null) throw new DistTrainException(ExitCode.BadUsage, "data.test_fraction is given, and there is an array x_test");
            NpyFile testY = find("y_test") ?? throw new DistTrainException(ExitCode.BadData, $"{source.Path}: no array 'y_test' beside x_test");
            test = new NpyDataset(testX, testY, train.Target.Kind == TargetKind.ClassLabel ? train.Target.Width : null, source.Scale);
            if (!test.InputShape.SequenceEqual(train.InputShape) || test.Target != train.Target)
            {
                throw new DistTrainException(ExitCode.BadData, $"{source.Path}: x_test has examples of [{string.Join(", ", test.InputShape)}] with {test.Target}; x_train of [{string.Join(", ", train.InputShape)}] with {train.Target}");
            }
        }

        IReadOnlyList<string> names = train.Target.Kind == TargetKind.ClassLabel
            ? new NumberedNames(train.Target.Width)
            : [];
        string from = Path.GetFileName(source.Path.TrimEnd('/'));
        TrainTestSplit? parts = test != null ? null : new TrainTestSplit(train.Count, seed, source.TestFraction ?? TrainTestSplit.DefaultTestFraction);
        if (source.Standardize) (test, train) = (test?.Standardized(train, parts), train.Standardized(train, parts));
        if (parts == null) return DatasetLoader.Describe("numpy", train, test, names, from);
        return DatasetLoader.Describe("numpy", parts.Train(train), parts.TestCount > 0 ? parts.Test(train) : null, names, from);
    }

    private static Func<string, NpyFile?> Finder(DataSource source)
    {
        string path = source.Path!;
        if (path.EndsWith(".npz", StringComparison.OrdinalIgnoreCase) || Directory.Exists(path))
        {
            if (source.LabelsPath != null) throw new DistTrainException(ExitCode.BadUsage, $"data.labels_path belongs to a data.path that is one array; {path} is several");
            return Directory.Exists(path) ? name => Open(Path.Combine(path, name + ".npy"), optional: true) : name => FromArchive(path, name);
        }

        if (source.LabelsPath == null) throw new DistTrainException(ExitCode.BadUsage, $"data.labels_path is missing: the array of labels or targets that belongs to {path}");
        return name => name switch
        {
            "x" => Open(path, optional: false),
            "y" => Open(source.LabelsPath, optional: false),
            _ => null,
        };
    }

    private static NpyFile? Open(string path, bool optional)
    {
        if (optional && !File.Exists(path)) return null;
        using DataFile file = DataFile.Open(path);
        return NpyFile.Read(file);
    }

    private static NpyFile? FromArchive(string path, string name)
    {
        try
        {
            using ZipArchive archive = ZipFile.OpenRead(path);
            if (archive.GetEntry(name + ".npy") is not { } entry) return null;
            if (entry.Length > Array.MaxLength) throw new DistTrainException(ExitCode.BadData, $"{path}: {name} has {entry.Length} bytes; at most {Array.MaxLength} are read from an archive, so save it as a .npy file");
            // What its directory claims is believed as far as the file can hold it.
            long stored = new FileInfo(path).Length;
            if (entry.Length > stored * DataFile.MaximumExpansion) throw new DistTrainException(ExitCode.BadData, $"{path}: {name} is to have {entry.Length} bytes, which a file of {stored} can't hold");
            MemoryGuard.Check(path, 2 * entry.Length);
            var bytes = new byte[entry.Length];
            using (Stream stream = entry.Open()) stream.ReadExactly(bytes);
            if (Crc32.Append(0, bytes) != entry.Crc32) throw new DistTrainException(ExitCode.BadData, $"{path}: {name} is damaged: its checksum is wrong");
            using DataFile file = DataFile.Open($"{path}: {name}", new MemoryStream(bytes));
            return NpyFile.Read(file);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            throw new DistTrainException(ExitCode.BadData, $"{path}: {(e is FileNotFoundException or DirectoryNotFoundException ? "no such file" : $"can't be read: {e.Message}")}", e);
        }
    }
}
