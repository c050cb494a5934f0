using System.Collections.Immutable;
using DistTrain.Core.Layout;
using DistTrain.Training.Checkpoints;

namespace DistTrain.Training.Tests.Checkpoints;

/// <summary>A directory with checkpoints of a tiny model, removed afterwards.</summary>
public sealed class Fixture : IDisposable
{
    public static readonly DateTimeOffset Now = new(2025, 3, 4, 5, 6, 7, TimeSpan.Zero);

    /// <summary>Three tensors with padding between them, one a buffer.</summary>
    public static readonly ParameterLayout Layout = new(
    [
        ("0.weight", [3, 5], TensorRole.Parameter),
        ("0.bias", [3], TensorRole.Parameter),
        ("1.mean", [2], TensorRole.Buffer),
    ]);

    public static readonly string[] StateVectors = ["moment1", "moment2"];

    public string Directory { get; } = Path.Combine(System.IO.Directory.CreateTempSubdirectory("disttrain-checkpoints-").FullName, "runs");

    public List<string> Warnings { get; } = [];

    internal CheckpointStore Store(int keep = 3, ICheckpointFiles? files = null) =>
        new(Directory, keep, new FixedTime(), Warnings.Add, files ?? DiskFiles.Instance);

    /// <summary>A flat vector that tells version, vector and place in every element; zeros in the padding.</summary>
    public static float[] Vector(string vector, long version)
    {
        float[] values = new float[Layout.Length];
        foreach (TensorEntry tensor in Layout.Tensors)
        {
            for (long i = tensor.Offset; i < tensor.End; i++) values[i] = version * 1000 + vector.Length * 100 + i;
        }

        return values;
    }

    public static CheckpointManifest Manifest(long version) => new()
    {
        JobName = "tiny",
        JobHash = "job hash",
        DataHash = "data hash",
        NumericsRevision = 3,
        Seed = ulong.MaxValue,
        Version = version,
        Epoch = 2,
        EpochPosition = 64,
        Optimizer = "adam",
        Metrics = ImmutableSortedDictionary<string, double>.Empty.Add("train_loss", 0.25).Add("test_loss", double.NaN),
        Job = "name: tiny\ndata: { name: \"digits\" } # <größe>\n",
        CoordinatorRecord = [1, 2, 255],
    };

    internal string Save(CheckpointStore store, long version)
    {
        using CheckpointDraft draft = store.Begin(version, Layout, StateVectors);
        Fill(draft, version);
        return draft.Complete(Manifest(version));
    }

    internal static void Fill(CheckpointDraft draft, long version)
    {
        // In pieces that cut tensors and padding, the last first.
        foreach (string vector in (string[])["weights", .. StateVectors])
        {
            float[] values = Vector(vector, version);
            for (int start = values.Length / 7 * 7; start >= 0; start -= 7)
            {
                draft.Write(vector, start, values.AsSpan(start, Math.Min(7, values.Length - start)));
            }
        }
    }

    public static void AssertHolds(LoadedCheckpoint checkpoint, long version)
    {
        Assert.Equal(version, checkpoint.Manifest.Version);
        foreach (string vector in (string[])["weights", .. StateVectors])
        {
            float[] read = [.. Enumerable.Repeat(-1f, (int)Layout.Length)];
            checkpoint.Read(vector, 0, read.AsSpan(0, 10));
            checkpoint.Read(vector, 10, read.AsSpan(10));
            Assert.Equal(Vector(vector, version), read);
        }
    }

    public string[] Names() => [.. System.IO.Directory.EnumerateFileSystemEntries(Directory).Select(p => Path.GetFileName(p)).Order(StringComparer.Ordinal)];

    public void Dispose() => System.IO.Directory.Delete(Path.GetDirectoryName(Directory)!, recursive: true);

    private sealed class FixedTime : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => Now;
    }
}
