using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text.Encodings.Web;
using System.Text.Json;
using DistTrain.Core;

namespace DistTrain.Training.Checkpoints;

/// <summary>
/// The header of a safetensors file (https://github.com/huggingface/safetensors, "Format"): its length as 8 bytes,
/// little-endian, then JSON that gives each tensor's type, shape and range in the data that follows, and under
/// <c>__metadata__</c> a map of strings. Written with spaces at its end, so that the data starts at a multiple of 64.
/// </summary>
internal sealed record SafetensorsHeader(ImmutableArray<SafetensorsTensor> Tensors, ImmutableSortedDictionary<string, string> Metadata)
{
    /// <summary>The reference implementation reads no longer header than this many bytes.</summary>
    public const int MaximumLength = 100_000_000;

    /// <summary>Data starts at a multiple of this many bytes; the format asks for 8.</summary>
    public const int Alignment = 64;

    private const string MetadataKey = "__metadata__";

    /// <summary>The start of a file: length and header.</summary>
    public static byte[] Write(IReadOnlyList<TensorSpec> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        var json = new ArrayBufferWriter<byte>();
        // Names and metadata as they are where JSON allows it, as the reference implementation writes them.
        using (var writer = new Utf8JsonWriter(json, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            if (metadata.Count > 0)
            {
                writer.WriteStartObject(MetadataKey);
                foreach ((string key, string value) in metadata.OrderBy(pair => pair.Key, StringComparer.Ordinal)) writer.WriteString(key, value);
                writer.WriteEndObject();
            }

            long offset = 0;
            foreach (TensorSpec tensor in tensors)
            {
                writer.WriteStartObject(tensor.Name);
                writer.WriteString("dtype", SafetensorsTensor.Float32);
                writer.WriteStartArray("shape");
                foreach (int d in tensor.Shape) writer.WriteNumberValue(d);
                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(offset);
                offset = checked(offset + tensor.Length * sizeof(float));
                writer.WriteNumberValue(offset);
                writer.WriteEndArray();
                writer.WriteEndObject();
            }

            writer.WriteEndObject();
        }

        int end = (8 + json.WrittenCount + Alignment - 1) / Alignment * Alignment;
        if (end - 8 > MaximumLength) throw new DistTrainException(ExitCode.BadData, $"a safetensors header of {end - 8} bytes; the format allows {MaximumLength}");
        var bytes = new byte[end];
        bytes.AsSpan().Fill((byte)' ');
        BinaryPrimitives.WriteInt64LittleEndian(bytes, end - 8);
        json.WrittenSpan.CopyTo(bytes.AsSpan(8));
        return bytes;
    }

    /// <summary>Reads the JSON of a header and checks all of it: nothing that it says is acted on before.</summary>
    /// <param name="path">The file, for errors.</param>
    /// <param name="json">The header without its length.</param>
    /// <param name="dataLength">Bytes that follow it in the file.</param>
    /// <exception cref="DistTrainException">BadData, naming file and tensor.</exception>
    public static SafetensorsHeader Parse(string path, ReadOnlySpan<byte> json, long dataLength)
    {
        SafetensorsHeader header;
        try
        {
            header = ParseJson(json);
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException)
        {
            // The last two: numbers that don't fit, text that is no UTF-8 or no scalar value.
            throw new DistTrainException(ExitCode.BadData, $"{path}: the safetensors header is not what the format says: {e.Message}", e);
        }

        header.RequireContiguous(path, dataLength);
        return header;
    }

    private static SafetensorsHeader ParseJson(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = 8 });
        var tensors = new List<SafetensorsTensor>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        ImmutableSortedDictionary<string, string> metadata = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);
        Expect(ref reader, JsonTokenType.StartObject);
        while (NextKey(ref reader, names) is { } key)
        {
            if (key == MetadataKey) metadata = ParseMetadata(ref reader);
            else tensors.Add(ParseTensor(ref reader, key));
        }

        if (reader.Read()) throw new JsonException("something follows its closing brace");
        tensors.Sort((a, b) => a.Begin != b.Begin ? a.Begin.CompareTo(b.Begin) : a.End.CompareTo(b.End));
        return new SafetensorsHeader([.. tensors], metadata);
    }

    private static ImmutableSortedDictionary<string, string> ParseMetadata(ref Utf8JsonReader reader)
    {
        var metadata = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        var keys = new HashSet<string>(StringComparer.Ordinal);
        Expect(ref reader, JsonTokenType.StartObject);
        while (NextKey(ref reader, keys) is { } key)
        {
            Expect(ref reader, JsonTokenType.String);
            metadata.Add(key, reader.GetString()!);
        }

        return metadata.ToImmutable();
    }

    private static SafetensorsTensor ParseTensor(ref Utf8JsonReader reader, string name)
    {
        string? type = null;
        ImmutableArray<long>? shape = null;
        ImmutableArray<long>? offsets = null;
        var keys = new HashSet<string>(StringComparer.Ordinal);
        Expect(ref reader, JsonTokenType.StartObject);
        while (NextKey(ref reader, keys) is { } key)
        {
            switch (key)
            {
                case "dtype":
                    Expect(ref reader, JsonTokenType.String);
                    type = reader.GetString();
                    break;
                case "shape":
                    shape = ParseNumbers(ref reader);
                    break;
                case "data_offsets":
                    offsets = ParseNumbers(ref reader);
                    break;
                default:
                    throw new JsonException($"tensor '{name}' has a key '{key}'");
            }
        }

        if (type == null || shape == null || offsets == null) throw new JsonException($"tensor '{name}' lacks dtype, shape or data_offsets");
        if (offsets.Value.Length != 2) throw new JsonException($"tensor '{name}' has {offsets.Value.Length} data_offsets, not 2");
        var tensor = new SafetensorsTensor(name, type, shape.Value, offsets.Value[0], offsets.Value[1]);
        RequireMatchingSize(tensor);
        return tensor;
    }

    private static void RequireMatchingSize(SafetensorsTensor tensor)
    {
        if (!SafetensorsTensor.Bits.TryGetValue(tensor.Type, out int bits)) throw new JsonException($"tensor '{tensor.Name}' has the unknown dtype '{tensor.Type}'");
        // A dimension of zero makes a tensor empty, however large the others are: the product is only bounded without it.
        UInt128 size = tensor.Shape.Contains(0) ? 0 : (UInt128)bits;
        foreach (long d in tensor.Shape)
        {
            size *= (UInt128)d;
            if (size > long.MaxValue) throw new JsonException($"tensor '{tensor.Name}' has an impossible shape [{string.Join(", ", tensor.Shape)}]");
        }

        if (tensor.End < tensor.Begin || size != (UInt128)(ulong)tensor.ByteLength * 8)
        {
            throw new JsonException($"tensor '{tensor.Name}' of shape [{string.Join(", ", tensor.Shape)}] and dtype {tensor.Type} has data_offsets {tensor.Begin} to {tensor.End}");
        }
    }

    private static ImmutableArray<long> ParseNumbers(ref Utf8JsonReader reader)
    {
        var numbers = ImmutableArray.CreateBuilder<long>();
        Expect(ref reader, JsonTokenType.StartArray);
        while (reader.Read() && reader.TokenType == JsonTokenType.Number)
        {
            long n = reader.GetInt64();
            if (n < 0) throw new JsonException($"the number {n} is negative");
            numbers.Add(n);
        }

        if (reader.TokenType != JsonTokenType.EndArray) throw new JsonException($"{reader.TokenType} in a list of numbers");
        return numbers.ToImmutable();
    }

    private static string? NextKey(ref Utf8JsonReader reader, HashSet<string> seen)
    {
        reader.Read();
        if (reader.TokenType == JsonTokenType.EndObject) return null;
        string key = reader.GetString()!;
        if (!seen.Add(key)) throw new JsonException($"the key '{key}' comes twice");
        return key;
    }

    private static void Expect(ref Utf8JsonReader reader, JsonTokenType type)
    {
        if (!reader.Read() || reader.TokenType != type) throw new JsonException($"{type} expected at byte {reader.TokenStartIndex}, got {reader.TokenType}");
    }

    private void RequireContiguous(string path, long dataLength)
    {
        long end = 0;
        foreach (SafetensorsTensor tensor in Tensors)
        {
            if (tensor.Begin != end) throw new DistTrainException(ExitCode.BadData, $"{path}: tensor '{tensor.Name}' begins at byte {tensor.Begin} of the data; the one before it ends at {end}");
            end = tensor.End;
        }

        if (end != dataLength) throw new DistTrainException(ExitCode.BadData, $"{path}: its tensors need {end} bytes of data, the file has {dataLength}");
    }
}
