using System.Buffers.Binary;
using System.IO.Compression;
using DistTrain.Data;

namespace DistTrain.Fuzz;

/// <summary>A reader of files. It gets them in a directory of its own, in memory where the system has one such.</summary>
internal abstract class FileTarget : FuzzTarget
{
    // No deflate stream expands by more.
    private const long MostExpansion = 1032;

    private readonly string _directory = Directory.CreateDirectory(
        Path.Combine(Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath(), $"disttrain-fuzz-{Guid.NewGuid():N}")).FullName;

    /// <summary>Bytes of a file that is read as it is, or gunzipped: what a table takes for each, and that arrays double.</summary>
    protected virtual long PerByte => 300;

    public override long Limit(byte[] input) => (8 << 20) + (PerByte * input.Length * (input.AsSpan().IndexOf((ReadOnlySpan<byte>)[0x1f, 0x8b]) >= 0 ? MostExpansion / 4 : 1));

    public override void Dispose() => Directory.Delete(_directory, recursive: true);

    protected string PathOf(string name) => Path.Combine(_directory, name);

    protected string Write(string name, ReadOnlySpan<byte> bytes)
    {
        string path = PathOf(name);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    /// <summary>Two files as one input.</summary>
    protected static byte[] Join(byte options, byte[] first, byte[] second)
    {
        byte[] length = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, first.Length);
        return [options, .. length, .. first, .. second];
    }

    /// <summary>Undoes <see cref="Join"/>, as far as that goes.</summary>
    protected static (byte Options, byte[] First, byte[] Second) Part(byte[] input)
    {
        if (input.Length < 5) return (0, [], []);
        int first = Math.Clamp(BinaryPrimitives.ReadInt32LittleEndian(input.AsSpan(1)), 0, input.Length - 5);
        return (input[0], input[5..(5 + first)], input[(5 + first)..]);
    }

    /// <summary>The bytes as they are, damaged, or gzipped before or after.</summary>
    protected static byte[] Damaged(FuzzRandom random, byte[] bytes, double share = 0.8)
    {
        bool gzip = random.Chance(0.1);
        if (random.Chance(share)) bytes = ByteMutator.Mutate(random, bytes, bytes);
        if (!gzip) return bytes;
        using var memory = new MemoryStream();
        using (var stream = new GZipStream(memory, CompressionLevel.Fastest)) stream.Write(bytes);
        bytes = memory.ToArray();
        return random.Chance(0.3) ? ByteMutator.Mutate(random, bytes, bytes) : bytes;
    }

    /// <summary>Reads a source, and its first and last examples.</summary>
    protected static bool Load(DataSource source)
    {
        LoadedData data = DatasetLoader.Load(source, 1);
        foreach (IDataset part in new[] { data.Train, data.Test }.OfType<IDataset>())
        {
            if (part.Count == 0 || part.FeatureCount > 1 << 16 || part.Target.PerRow > 1 << 16) continue;
            long[] examples = [0, part.Count - 1];
            part.GatherInputs(examples, new float[2 * part.FeatureCount]);
            if (part.Target.Kind == TargetKind.ClassLabel) part.GatherLabels(examples, new int[2 * part.Target.Length]);
            else part.GatherTargets(examples, new float[2 * part.Target.Width]);
        }

        return true;
    }
}
