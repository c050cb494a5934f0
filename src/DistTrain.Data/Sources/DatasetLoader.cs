using System.Globalization;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>Reads what a <see cref="DataSource"/> describes.</summary>
public static class DatasetLoader
{
    private static readonly Dictionary<string, Func<DataSource, ulong, LoadedData>> Sources = new(StringComparer.Ordinal)
    {
        ["digits"] = DigitsSource.Load,
        ["mnist"] = IdxSource.Load,
        ["fashion-mnist"] = IdxSource.Load,
        ["idx"] = IdxSource.Load,
        ["cifar-10"] = CifarSource.Load,
        ["cifar-100"] = CifarSource.Load,
        ["images"] = ImageFolderSource.Load,
        ["numpy"] = NumpySource.Load,
        ["csv"] = CsvSource.Load,
        ["text"] = TextSource.Load,
        ["tagged"] = TaggedSource.Load,
    };

    /// <summary>The names that <see cref="DataSource.Name"/> may have.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Sources.Keys];

    /// <summary>Reads a source; its split depends on <paramref name="seed"/>, the job's.</summary>
    /// <exception cref="DistTrainException">BadUsage for a description that makes no sense, BadData for what the files
    /// hold or where they are missing; the message names the key, or the file and the place in it.</exception>
    public static LoadedData Load(DataSource source, ulong seed)
    {
        string name = source.Name ?? NameFromPath(source);
        if (!Sources.TryGetValue(name, out Func<DataSource, ulong, LoadedData>? load))
        {
            string nearest = NearestName.Of(name, Names) is { } near ? $"did you mean '{near}'? " : "";
            throw new DistTrainException(ExitCode.BadUsage, $"data.name is '{name}'; {nearest}there are: {string.Join(", ", Names)}");
        }

        return load(source with
        {
            Name = name,
            Path = ExpandHome(source.Path),
            TestPath = ExpandHome(source.TestPath),
            LabelsPath = ExpandHome(source.LabelsPath),
        }, seed);
    }

    internal static string? ExpandHome(string? path) => path switch
    {
        "~" => Home,
        ['~', '/', ..] => System.IO.Path.Combine(Home, path[2..]),
        _ => path,
    };

    /// <summary>Both parts with their hash and their line of summary.</summary>
    internal static LoadedData Describe(string name, IDataset train, IDataset? test, IReadOnlyList<string> classNames, string from)
    {
        string hash = ContentHasher.Combine("data", train.ContentHash, test?.ContentHash ?? "");
        string counts = $"{train.Count.ToString("N0", CultureInfo.InvariantCulture)} training and {(test?.Count ?? 0).ToString("N0", CultureInfo.InvariantCulture)} test examples";
        string summary = $"{name} ({from}): {counts} of [{string.Join(", ", train.InputShape)}], {train.Target}";
        return new LoadedData(name, train, test, hash, classNames, summary);
    }

    /// <summary>Refuses keys that the source would silently not heed: all but those named.</summary>
    internal static void Allow(DataSource source, params ReadOnlySpan<string> keys)
    {
        foreach (string key in source.GivenKeys())
        {
            if (!keys.Contains(key)) throw new DistTrainException(ExitCode.BadUsage, $"data.{key} has no meaning for '{source.Name}'");
        }

        if (source is { TestPath: not null, TestFraction: not null }) throw new DistTrainException(ExitCode.BadUsage, $"data.test_fraction (beside test_path) has no meaning for '{source.Name}'");
    }

    /// <summary>An option within its range, or its default.</summary>
    internal static int Option(string key, int? value, int fallback, int least, int most) => (value ?? fallback) is var n && n >= least && n <= most
        ? n
        : throw new DistTrainException(ExitCode.BadUsage, $"data.{key} is {value}; expected {least} to {most}");

    internal static void CheckScale(DataSource source)
    {
        if (source.Scale is { } scale && (!double.IsFinite(scale) || scale == 0))
        {
            throw new DistTrainException(ExitCode.BadUsage, $"data.scale is {scale.ToString(CultureInfo.InvariantCulture)}; expected a number other than 0");
        }
    }

    private static string Home => Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);

    private static string NameFromPath(DataSource source)
    {
        if (source.Path == null) return "digits";
        string path = ExpandHome(source.Path)!;
        string file = System.IO.Path.GetFileName(path);
        if (file.EndsWith(".gz", StringComparison.OrdinalIgnoreCase)) file = file[..^3];
        string extension = System.IO.Path.GetExtension(file).ToLowerInvariant();
        if (extension is ".csv" or ".tsv" or ".txt" or ".data") return "csv";
        if (extension is ".npy" or ".npz") return "numpy";
        if (file.Contains("idx", StringComparison.Ordinal) || Directory.Exists(path)) return "idx";
        throw new DistTrainException(ExitCode.BadUsage, $"data.path is '{source.Path}', which doesn't tell its format; give data.name: {string.Join(", ", Names)}");
    }
}
