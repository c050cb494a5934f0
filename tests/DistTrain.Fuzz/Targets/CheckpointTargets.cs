using System.Security.Cryptography;
using System.Text;
using DistTrain.Core.Layout;
using DistTrain.Training.Checkpoints;
using DistTrain.Training.Coordinator;

namespace DistTrain.Fuzz.Targets;

/// <summary>What checkpoints of a small model look like, and how one is made to look whole again.</summary>
internal static class CheckpointSamples
{
    public static readonly string[] Words =
    [
        "{", "}", "[", "]", ",", ":", "\"", "\"format\": 1", "\"version\": ", "null", "-1", "0", "1e3", "NaN", "\"NaN\"", "2147483648", "9223372036854775807", "\"tensors\": [", "\"shape\": [",
        "\"state_vectors\": [", "\"files\": [", "\"role\": \"Buffer\"", "\"role\": 7", "\"momentum\", ", "\"name\": \"a\"", "\\ud800", "true", "\"../x\"", "\"coordinator_record\": \"AQID\"",
        "{\"name\": \"t\", \"shape\": [2147483647, 2147483647], \"role\": \"Parameter\"}, ", " ",
    ];

    public static readonly ParameterLayout Layout = new([("0.weight", [3, 5], TensorRole.Parameter), ("0.bias", [3], TensorRole.Undecayed), ("1.mean", [2], TensorRole.Buffer)]);

    public static CheckpointManifest Manifest(FuzzRandom random) => new()
    {
        JobName = "tiny",
        JobHash = "job hash",
        DataHash = "data hash",
        NumericsRevision = 3,
        Seed = ulong.MaxValue,
        Version = random.Number(100),
        Epoch = 2,
        EpochPosition = 64,
        Optimizer = "sgd",
        StateVectors = ["momentum"],
        Tensors = [.. Layout.Tensors.Select(t => new ManifestTensor(t.Name, t.Shape, t.Role))],
        Job = "name: tiny\ndata: digits # größe\n",
        CoordinatorRecord = random.Chance(0.5) ? [] : Record(random),
    };

    public static byte[] Record(FuzzRandom random)
    {
        byte[] record = new EvaluationRecord { Version = random.Number(), Since = random.Number(), Best = new(random.Number(), random.Real(), random.Real()) }.ToBytes();
        return random.Chance(0.5) ? ByteMutator.Mutate(random, record, record) : record;
    }

    /// <summary>Puts the right SHA-256 to a manifest's end, so that what it says is looked at.</summary>
    public static byte[] Sealed(byte[] manifest)
    {
        const int Hash = 64;
        int at = manifest.Length - Hash - "\"\n}\n".Length;
        if (at < 0) return manifest;
        manifest.AsSpan(at, Hash).Fill((byte)'0');
        Encoding.ASCII.GetBytes(Convert.ToHexStringLower(SHA256.HashData(manifest)), manifest.AsSpan(at, Hash));
        return manifest;
    }

    public static byte[] Damaged(FuzzRandom random, byte[] manifest)
    {
        // Its end stays, or nothing would be looked at.
        const int Tail = 96;
        string text = Encoding.UTF8.GetString(manifest);
        return random.Chance(0.95)
            ? Sealed(Encoding.UTF8.GetBytes(TextMutator.Mutate(random, text[..^Tail], Words) + text[^Tail..]))
            : ByteMutator.Mutate(random, manifest, manifest);
    }
}

/// <summary>The manifest of a checkpoint, and the coordinator's record within it.</summary>
internal sealed class ManifestTarget : FuzzTarget
{
    public override string Name => "manifest";

    public override int Brief => 5000;

    public override long Limit(byte[] input) => (1 << 20) + (300L * input.Length);

    public override byte[] Make(FuzzRandom random) => CheckpointSamples.Damaged(random, CheckpointSamples.Manifest(random).ToBytes());

    public override bool Read(byte[] input)
    {
        CheckpointManifest manifest = CheckpointManifest.Parse("manifest.json", input);
        _ = manifest.ToLayout();
        _ = manifest.ToBytes();
        _ = EvaluationRecord.Parse(manifest.CoordinatorRecord);
        return true;
    }
}

/// <summary>A whole checkpoint: its three files, whose hashes are right though what they say isn't.</summary>
internal sealed class CheckpointTarget : FileTarget
{
    public override string Name => "checkpoint";

    public override int Brief => 1000;

    public override byte[] Make(FuzzRandom random)
    {
        CheckpointManifest manifest = CheckpointSamples.Manifest(random);
        byte[] model = Tensors(random, CheckpointNames.ModelTensors(CheckpointSamples.Layout)), optimizer = Tensors(random, CheckpointNames.OptimizerTensors(CheckpointSamples.Layout, manifest.StateVectors));
        manifest = manifest with { Files = [Entry(CheckpointNames.Model, model), Entry(CheckpointNames.Optimizer, optimizer)] };
        byte[] text = random.Chance(0.6) ? CheckpointSamples.Damaged(random, manifest.ToBytes()) : manifest.ToBytes();
        return Script.Make(0, [(0, text), (1, model), (2, optimizer)]);

        static ManifestFile Entry(string name, byte[] bytes) => new(name, bytes.Length, Convert.ToHexStringLower(SHA256.HashData(bytes)));
    }

    public override bool Read(byte[] input)
    {
        string[] names = [CheckpointNames.Manifest, CheckpointNames.Model, CheckpointNames.Optimizer];
        foreach ((byte kind, byte[] bytes) in Script.Read(input)) Write(names[kind % names.Length], bytes);
        using LoadedCheckpoint checkpoint = CheckpointStore.Find(PathOf(""), _ => { });
        if (checkpoint.Layout.Length > input.Length) throw new BrokenPromiseException($"{checkpoint.Layout.Length} elements out of {input.Length} bytes");
        foreach (string vector in checkpoint.Manifest.StateVectors.Add("weights")) checkpoint.Read(vector, 0, new float[checkpoint.Layout.Length]);
        return true;
    }

    private static byte[] Tensors(FuzzRandom random, IReadOnlyList<TensorSpec> tensors)
    {
        byte[] file = [.. SafetensorsHeader.Write(tensors, new Dictionary<string, string>(StringComparer.Ordinal)), .. new byte[tensors.Sum(t => t.Length) * sizeof(float)]];
        return random.Chance(0.2) ? ByteMutator.Mutate(random, file, file) : file;
    }
}
