using System.Collections;

namespace DistTrain.Transport.Grpc;

/// <summary>One entry of a call's metadata. Exactly one of the two values is set.</summary>
/// <param name="Key">In lower case; ends in <c>-bin</c> when the value is binary.</param>
/// <param name="Text">Printable ASCII.</param>
/// <param name="Bytes">Any bytes.</param>
public readonly record struct GrpcMetadataEntry(string Key, string? Text, byte[]? Bytes);

/// <summary>
/// Headers or trailers of a call: ordered, keys may repeat. Keys are lower case letters, digits, <c>-</c>, <c>_</c> and <c>.</c>;
/// those that begin with <c>grpc-</c> belong to the protocol. Not thread-safe.
/// </summary>
public sealed class GrpcMetadata : IEnumerable<GrpcMetadataEntry>
{
    private readonly List<GrpcMetadataEntry> _entries = [];
    private bool _frozen;

    /// <summary>No entries; can't be added to.</summary>
    public static GrpcMetadata Empty { get; } = new() { _frozen = true };

    /// <summary>How many entries there are.</summary>
    public int Count => _entries.Count;

    /// <summary>Adds text: printable ASCII, not empty, no space at either end.</summary>
    /// <exception cref="ArgumentException">The key or value can't travel as gRPC metadata.</exception>
    public GrpcMetadata Add(string key, string value)
    {
        CheckKey(key);
        if (IsBinary(key)) throw new ArgumentException($"metadata '{key}': a key that ends in -bin has a binary value", nameof(key));
        if (value.Length == 0 || value.AsSpan().ContainsAnyExceptInRange(' ', '~') || value.AsSpan().Trim(' ').Length != value.Length)
        {
            throw new ArgumentException($"metadata '{key}': a text value is printable ASCII, not empty, with no space at either end; other values go under a key that ends in -bin", nameof(value));
        }

        return AddUnchecked(new(key, value, null));
    }

    /// <summary>Adds bytes, copied, under a key that ends in <c>-bin</c>. They travel as base64.</summary>
    /// <exception cref="ArgumentException">The key can't travel as gRPC metadata.</exception>
    public GrpcMetadata Add(string key, ReadOnlySpan<byte> value)
    {
        CheckKey(key);
        if (!IsBinary(key)) throw new ArgumentException($"metadata '{key}': the key of a binary value ends in -bin", nameof(key));
        return AddUnchecked(new(key, null, value.ToArray()));
    }

    /// <summary>The last text under <paramref name="key"/>, or null.</summary>
    public string? Get(string key) => Last(key)?.Text;

    /// <summary>The last bytes under <paramref name="key"/>, or null.</summary>
    public byte[]? GetBytes(string key) => Last(key)?.Bytes;

    /// <inheritdoc/>
    public IEnumerator<GrpcMetadataEntry> GetEnumerator() => _entries.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>Adds a header as it came: protocol headers are left out, binary ones are decoded.</summary>
    internal void AddWire(string key, string value)
    {
        key = key.ToLowerInvariant();
        if (key is "content-type" or "te" or "user-agent" or "date" or "trailer" || key[0] == ':' || key.StartsWith("grpc-", StringComparison.Ordinal)) return;
        if (!IsBinary(key))
        {
            AddUnchecked(new(key, value, null));
            return;
        }

        // Several binary values may come joined by commas, each with or without its padding.
        foreach (string part in value.Split(','))
        {
            string text = part.Trim().TrimEnd('=');
            byte[] bytes = new byte[(text.Length * 3 / 4) + 3];
            if (Convert.TryFromBase64String(text.PadRight((text.Length + 3) / 4 * 4, '='), bytes, out int written))
            {
                AddUnchecked(new(key, null, bytes[..written]));
            }
        }
    }

    /// <summary>The value as it travels.</summary>
    internal static string WireValue(in GrpcMetadataEntry entry) => entry.Text ?? Convert.ToBase64String(entry.Bytes!).TrimEnd('=');

    private GrpcMetadata AddUnchecked(GrpcMetadataEntry entry)
    {
        if (_frozen) throw new InvalidOperationException("the empty metadata can't be added to");
        _entries.Add(entry);
        return this;
    }

    private GrpcMetadataEntry? Last(string key)
    {
        for (int i = _entries.Count - 1; i >= 0; i--)
        {
            if (string.Equals(_entries[i].Key, key, StringComparison.Ordinal)) return _entries[i];
        }

        return null;
    }

    private static bool IsBinary(string key) => key.EndsWith("-bin", StringComparison.Ordinal);

    private static void CheckKey(string key)
    {
        bool valid = key.Length > 0 && key.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '-' or '_' or '.');
        if (!valid) throw new ArgumentException($"metadata key '{key}': lower case letters, digits, '-', '_' and '.' only", nameof(key));
        if (key.StartsWith("grpc-", StringComparison.Ordinal)) throw new ArgumentException($"metadata key '{key}': keys that begin with grpc- belong to the protocol", nameof(key));
    }
}
