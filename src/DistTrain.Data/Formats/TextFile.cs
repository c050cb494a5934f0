using System.Buffers;
using System.Security.Cryptography;
using System.Text;

namespace DistTrain.Data;

/// <summary>A UTF-8 text as its code points, in order.</summary>
internal sealed class TextFile
{
    private const int Piece = 1 << 16;
    private const int ByteOrderMark = 0xFEFF;

    private TextFile(string path, GrowingArray<int> characters, string hash)
    {
        (Path, _characters, Hash) = (path, characters, hash);
    }

    private readonly GrowingArray<int> _characters;

    public string Path { get; }

    /// <summary>SHA-256 over the bytes of the text.</summary>
    public string Hash { get; }

    /// <summary>The code points; a byte order mark at the beginning is none of them.</summary>
    public ReadOnlySpan<int> Characters => _characters.Span;

    /// <summary>Reads a file.</summary>
    /// <exception cref="Core.DistTrainException">It can't be read, or is no UTF-8: with the offset.</exception>
    public static TextFile Read(string path)
    {
        using DataFile file = DataFile.Open(path);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var characters = new GrowingArray<int>(file);
        var bytes = new byte[Piece];
        int kept = 0;
        while (true)
        {
            long start = file.Position - kept;
            int read = file.Read(bytes.AsSpan(kept));
            bool ended = read < Piece - kept;
            hash.AppendData(bytes, kept, read);
            int length = kept + read;
            int at = Decode(file, bytes.AsSpan(0, length), start, ended, characters);
            kept = length - at;
            bytes.AsSpan(at, kept).CopyTo(bytes);
            if (ended) return new TextFile(path, characters, Convert.ToHexStringLower(hash.GetHashAndReset()));
        }
    }

    // How far it came: up to three bytes of a character that goes on in the next piece stay.
    private static int Decode(DataFile file, ReadOnlySpan<byte> bytes, long start, bool ended, GrowingArray<int> characters)
    {
        int at = 0;
        while (at < bytes.Length)
        {
            OperationStatus status = Rune.DecodeFromUtf8(bytes[at..], out Rune rune, out int used);
            if (status == OperationStatus.NeedMoreData && !ended) break;
            if (status != OperationStatus.Done) throw file.Bad($"offset {start + at}: byte 0x{bytes[at]:x2} begins no UTF-8 character; a text has to be in UTF-8");
            if (start + at > 0 || rune.Value != ByteOrderMark) characters.Add(rune.Value);
            at += used;
        }

        return at;
    }
}
