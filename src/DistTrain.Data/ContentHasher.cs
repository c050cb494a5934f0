using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace DistTrain.Data;

/// <summary>
/// SHA-256 over what a dataset was read from, each part preceded by its length, so that no two contents share a hash
/// by running into each other.
/// </summary>
internal sealed class ContentHasher : IDisposable
{
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    public ContentHasher(string kind) => Append(Encoding.UTF8.GetBytes("disttrain data 1 " + kind));

    public ContentHasher(string kind, IEnumerable<int> shape, TargetSpec target)
        : this($"{kind} [{string.Join(',', shape)}] {target}")
    {
    }

    public void Append(ReadOnlySpan<byte> part)
    {
        AppendLength(part.Length);
        _hash.AppendData(part);
    }

    /// <summary>Adds a piece of content: after <see cref="AppendLength"/>, or, where the length is not known beforehand, as
    /// the only such part and the last.</summary>
    public void AppendContent(ReadOnlySpan<byte> piece) => _hash.AppendData(piece);

    public void Append(string part) => Append(Encoding.UTF8.GetBytes(part));

    public string Finish() => Convert.ToHexStringLower(_hash.GetHashAndReset());

    public void Dispose() => _hash.Dispose();

    /// <summary>The hash of several hashes, in order.</summary>
    public static string Combine(string kind, params ReadOnlySpan<string> parts)
    {
        using var hash = new ContentHasher(kind);
        foreach (string part in parts) hash.Append(part);
        return hash.Finish();
    }

    /// <summary>Announces content of a length that comes in pieces.</summary>
    public void AppendLength(long length)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, length);
        _hash.AppendData(bytes);
    }
}
