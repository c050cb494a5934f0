using System.Globalization;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// CIFAR-10 and CIFAR-100 in their binary version (A. Krizhevsky, "The CIFAR-10 dataset", section on the binary version):
/// records of one label byte, or of two (coarse, fine: the fine one is taken), then 3 × 32 × 32 bytes, red, green, blue.
/// </summary>
internal static class CifarSource
{
    private const int Side = 32;
    private const int Pixels = 3 * Side * Side;

    private static readonly string[] Names10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

    public static LoadedData Load(DataSource source, ulong seed)
    {
        DatasetLoader.Allow(source, "path", "standardize", "scale");
        DatasetLoader.CheckScale(source);
        bool fine = source.Name == "cifar-100";
        string[] trainNames = fine ? ["train.bin"] : [.. Enumerable.Range(1, 5).Select(i => $"data_batch_{i}.bin")];
        string[] testNames = [fine ? "test.bin" : "test_batch.bin"];
        if (source.Path == null) throw new DistTrainException(ExitCode.BadUsage, $"data.path is missing; '{source.Name}' needs the directory with {trainNames[0]} and its companions (the binary version)");
        string directory = Inside(source.Path, fine ? "cifar-100-binary" : "cifar-10-batches-bin", testNames[0]);
        float factor = (float)(source.Scale ?? 1.0 / 255);
        ImageDataset train = Read(directory, trainNames, fine, factor), test = Read(directory, testNames, fine, factor);
        if (source.Standardize) (train, test) = (train.Standardized(train, null), test.Standardized(train, null));
        IReadOnlyList<string> names = fine ? FineNames(directory) : Names10;
        return DatasetLoader.Describe(source.Name!, train, test, names, source.Path);
    }

    // The archives hold one directory.
    private static string Inside(string path, string archived, string file) =>
        !File.Exists(Path.Combine(path, file)) && Directory.Exists(Path.Combine(path, archived)) ? Path.Combine(path, archived) : path;

    private static ImageDataset Read(string directory, string[] names, bool fine, float factor)
    {
        int head = fine ? 2 : 1, stride = head + Pixels, classes = fine ? 100 : 10;
        var files = new ImageRecords[names.Length];
        var labels = new List<byte>();
        using var hasher = new ContentHasher(fine ? "cifar-100" : "cifar-10");
        for (int f = 0; f < names.Length; f++)
        {
            using DataFile file = DataFile.Open(Path.Combine(directory, names[f]));
            long length = file.StoredLength;
            if (file.IsCompressed || length == 0 || length % stride != 0) throw file.Bad($"{length} bytes are no whole number of records of {stride}; expected the binary version, unpacked");
            files[f] = new ImageRecords(ByteStore.Take(file, (ulong)length, $"{length / stride} records of {stride}"), head, stride);
            files[f].Bytes.AppendTo(hasher);
            for (long i = 0; i < files[f].Count; i++)
            {
                byte label = files[f].Bytes.Slice((i * stride) + head - 1, 1)[0];
                if (label >= classes) throw file.Bad($"offset {(i * stride) + head - 1}: label {label} of record {i}; labels go from 0 to {classes - 1}");
                labels.Add(label);
            }
        }

        return new ImageDataset(files, [.. labels], [3, Side, Side], classes, hasher.Finish(), factor);
    }

    private static IReadOnlyList<string> FineNames(string directory)
    {
        string path = Path.Combine(directory, "fine_label_names.txt");
        string[] names = File.Exists(path) ? [.. File.ReadLines(path).Where(l => l.Length > 0).Take(101)] : [];
        return names.Length == 100 ? names : [.. Enumerable.Range(0, 100).Select(i => i.ToString(CultureInfo.InvariantCulture))];
    }
}
