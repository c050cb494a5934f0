using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using DistTrain.Core;
using DistTrain.Core.Layout;

namespace DistTrain.Training.Checkpoints;

/// <summary>A tensor in a manifest.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Shape">Its dimensions.</param>
/// <param name="Role">Parameter or buffer.</param>
public sealed record ManifestTensor(string Name, ImmutableArray<int> Shape, TensorRole Role);

/// <summary>A file that a checkpoint consists of.</summary>
/// <param name="Name">Its name within the checkpoint's directory.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="Sha256">64 lower-case hexadecimal digits.</param>
public sealed record ManifestFile(string Name, long Bytes, string Sha256);

/// <summary>
/// What a checkpoint is of, and what proves it whole: <c>manifest.json</c>, written last. Its last member is the
/// SHA-256 of its own text with 64 zeros in that member's place.
/// </summary>
public sealed record CheckpointManifest
{
    /// <summary>The manifest format that this build writes, and the only one that it reads.</summary>
    public const int CurrentFormat = 1;

    /// <summary>The largest manifest that is read.</summary>
    internal const int MaximumLength = 64 << 20;

    private const string HashPrefix = ",\n  \"manifest_sha256\": \"";
    private const string HashSuffix = "\"\n}\n";
    private const int HashLength = 64;

    /// <summary><see cref="CurrentFormat"/>.</summary>
    public int Format { get; init; } = CurrentFormat;

    /// <summary>When it was begun.</summary>
    public DateTimeOffset Created { get; init; }

    /// <summary>The job's name.</summary>
    public string JobName { get; init; } = "";

    /// <summary>Over everything in the job that decides the bits.</summary>
    public required string JobHash { get; init; }

    /// <summary>Over the data's content.</summary>
    public required string DataHash { get; init; }

    /// <summary>The revision of the kernels' arithmetic.</summary>
    public required int NumericsRevision { get; init; }

    /// <summary>The job's seed.</summary>
    public required ulong Seed { get; init; }

    /// <summary>The model version: the number of optimizer updates the weights have had, and the next step to compute.</summary>
    public required long Version { get; init; }

    /// <summary>Passes over the data completed.</summary>
    public required long Epoch { get; init; }

    /// <summary>Examples of the current epoch that have been used.</summary>
    public required long EpochPosition { get; init; }

    /// <summary>The optimizer's name, such as <c>adam</c>.</summary>
    public required string Optimizer { get; init; }

    /// <summary>The optimizer's state vectors, in its order; each holds a number for each parameter.</summary>
    public ImmutableArray<string> StateVectors { get; init; } = [];

    /// <summary>The model's tensors, in layout order.</summary>
    public ImmutableArray<ManifestTensor> Tensors { get; init; } = [];

    /// <summary>The figures at this version, such as train_loss and test_accuracy.</summary>
    public ImmutableSortedDictionary<string, double> Metrics { get; init; } = ImmutableSortedDictionary<string, double>.Empty;

    /// <summary>The job's text with all overrides applied.</summary>
    public required string Job { get; init; }

    /// <summary>The coordinator's own state.</summary>
    public byte[] CoordinatorRecord { get; init; } = [];

    /// <summary>The checkpoint's other files.</summary>
    public ImmutableArray<ManifestFile> Files { get; init; } = [];

    /// <summary>Over the manifest's own text; set where it was read.</summary>
    public string? ManifestSha256 { get; init; }

    /// <summary>The layout of the flat parameter vector that the tensors make.</summary>
    public ParameterLayout ToLayout() => new(Tensors.Select(t => (t.Name, t.Shape, t.Role)));

    internal byte[] ToBytes()
    {
        string json = JsonSerializer.Serialize(this with { ManifestSha256 = null }, ManifestText.Type);
        string open = json[..^2]; // without its last line end and brace
        byte[] bytes = Encoding.UTF8.GetBytes(open + HashPrefix + new string('0', HashLength) + HashSuffix);
        string hash = Convert.ToHexStringLower(SHA256.HashData(bytes));
        Encoding.ASCII.GetBytes(hash, HashOf(bytes));
        return bytes;
    }

    /// <exception cref="DistTrainException">BadData, naming the file at <paramref name="path"/>.</exception>
    internal static CheckpointManifest Parse(string path, byte[] bytes)
    {
        byte[] zeroed = (byte[])bytes.Clone();
        int tail = HashPrefix.Length + HashLength + HashSuffix.Length;
        bool framed = bytes.Length > tail
            && Encoding.ASCII.GetString(bytes, bytes.Length - tail, HashPrefix.Length) == HashPrefix
            && Encoding.ASCII.GetString(bytes, bytes.Length - HashSuffix.Length, HashSuffix.Length) == HashSuffix;
        if (!framed) throw Bad(path, $"damaged or cut off: its {bytes.Length} bytes don't end with manifest_sha256");
        HashOf(zeroed).Fill((byte)'0');
        string expected = Encoding.ASCII.GetString(HashOf(bytes));
        string actual = Convert.ToHexStringLower(SHA256.HashData(zeroed));
        if (expected != actual) throw Bad(path, $"damaged: its SHA-256 is {actual}, it says {expected}");
        return Deserialize(path, bytes);
    }

    private static CheckpointManifest Deserialize(string path, byte[] bytes)
    {
        try
        {
            RequireFormat(path, bytes);
            CheckpointManifest manifest = JsonSerializer.Deserialize(bytes, ManifestText.Type) ?? throw new JsonException("it is null");
            manifest.RequireSense();
            return manifest;
        }
        catch (Exception e) when (e is JsonException or NotSupportedException or InvalidOperationException or FormatException or ArgumentException or OverflowException)
        {
            throw new DistTrainException(ExitCode.BadData, $"{path}: not a checkpoint's manifest: {e.Message}", e);
        }
    }

    // Another format may have any other members: it is looked at first.
    private static void RequireFormat(string path, byte[] bytes)
    {
        using JsonDocument document = JsonDocument.Parse(bytes);
        if (!document.RootElement.TryGetProperty("format", out JsonElement member)) throw new JsonException("it has no member 'format'");
        int format = member.GetInt32();
        if (format != CurrentFormat) throw Bad(path, $"checkpoint format {format}; this build reads format {CurrentFormat}");
    }

    private void RequireSense()
    {
        if (Version < 0 || Epoch < 0 || EpochPosition < 0) throw new JsonException("a negative version, epoch or epoch_position");
        if (Tensors.IsDefault || StateVectors.IsDefault || Files.IsDefault) throw new JsonException("a list is null");
        if (Tensors.Any(t => t is null || t.Name is null || t.Shape.IsDefault || t.Shape.Any(d => d < 0))) throw new JsonException("a tensor without a name or with a wrong shape");
        if (Files.Any(f => f is null || f.Name is null || f.Sha256 is null)) throw new JsonException("a file without a name or a hash");
        if (StateVectors.Any(v => v is null)) throw new JsonException("a state vector without a name");
        // Names twice and lengths that overflow show here.
        _ = ToLayout();
    }

    private static Span<byte> HashOf(byte[] bytes) => bytes.AsSpan(bytes.Length - HashSuffix.Length - HashLength, HashLength);

    private static DistTrainException Bad(string path, string message) => new(ExitCode.BadData, $"{path}: {message}");
}

[JsonSourceGenerationOptions(
    WriteIndented = true,
    NewLine = "\n",
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    AllowDuplicateProperties = false,
    UseStringEnumConverter = true)]
[JsonSerializable(typeof(CheckpointManifest))]
internal sealed partial class ManifestJson : JsonSerializerContext;

/// <summary>The manifest's JSON, with the job's text as it is where JSON allows it.</summary>
internal static class ManifestText
{
    public static JsonTypeInfo<CheckpointManifest> Type { get; } =
        new ManifestJson(new JsonSerializerOptions(ManifestJson.Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }).CheckpointManifest;
}
