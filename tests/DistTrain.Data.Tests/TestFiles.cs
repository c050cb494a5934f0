using System.IO.Compression;
using System.Text;

namespace DistTrain.Data.Tests;

/// <summary>A directory of its own for a test's files, removed afterwards.</summary>
public sealed class TestFiles : IDisposable
{
    public string Directory { get; } = System.IO.Directory.CreateTempSubdirectory("disttrain-data-").FullName;

    public string Path(string name) => System.IO.Path.Combine(Directory, name);

    public string Write(string name, byte[] bytes)
    {
        File.WriteAllBytes(Path(name), bytes);
        return Path(name);
    }

    public string Write(string name, string text) => Write(name, Encoding.UTF8.GetBytes(text));

    public void Dispose() => System.IO.Directory.Delete(Directory, recursive: true);

    public static byte[] Gzip(byte[] bytes)
    {
        using var memory = new MemoryStream();
        using (var gzip = new GZipStream(memory, CompressionLevel.Optimal)) gzip.Write(bytes);
        return memory.ToArray();
    }

    /// <summary>An IDX file of unsigned bytes.</summary>
    public static byte[] Idx(int[] dimensions, byte[] elements)
    {
        List<byte> bytes = [0, 0, 8, (byte)dimensions.Length];
        foreach (int d in dimensions) bytes.AddRange([(byte)(d >> 24), (byte)(d >> 16), (byte)(d >> 8), (byte)d]);
        return [.. bytes, .. elements];
    }

    public static float[] Inputs(IDataset dataset)
    {
        float[] x = new float[dataset.Count * dataset.FeatureCount];
        dataset.GatherInputs(All(dataset), x);
        return x;
    }

    public static int[] Labels(IDataset dataset)
    {
        int[] labels = new int[dataset.Count * dataset.Target.Length];
        dataset.GatherLabels(All(dataset), labels);
        return labels;
    }

    public static float[] Targets(IDataset dataset)
    {
        float[] targets = new float[dataset.Count * dataset.Target.Width];
        dataset.GatherTargets(All(dataset), targets);
        return targets;
    }

    private static long[] All(IDataset dataset) => [.. Enumerable.Range(0, (int)dataset.Count).Select(i => (long)i)];
}
