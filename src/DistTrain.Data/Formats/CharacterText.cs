using System.Buffers;
using System.Security.Cryptography;
using System.Text;

namespace DistTrain.Data;

/// <summary>
/// A UTF-8 text, read by character (code point). It is kept as the bytes of its file, which stay on disk where they are many, and
/// where every 256th character begins; a text of single bytes needs not even that. Immutable.
/// </summary>
internal sealed class CharacterText
{
    private const int Spacing = 256;
    private const int LongestCharacter = 4;
    private const int Piece = 1 << 20;
    private const int ByteOrderMark = 0xFEFF;
    private const int ByteOrderMarkBytes = 3;

    private readonly ByteStore _bytes;
    private readonly long _first;

    // The byte at which character Spacing · i begins; null where all have one byte.
    private readonly long[]? _starts;

    private CharacterText(DataFile file, ByteStore bytes)
    {
        (Path, _bytes) = (file.Path, bytes);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var seen = new bool[char.MaxValue + 1];
        var beyond = new SortedSet<int>();
        var starts = new GrowingArray<long>(file);
        long at = 0, hashed = 0;
        while (at < bytes.Length)
        {
            ReadOnlySpan<byte> piece = bytes.Slice(at, (int)Math.Min(Piece, bytes.Length - at));
            hash.AppendData(piece[(int)(hashed - at)..]);
            hashed = at + piece.Length;
            // The last character of a piece may go on in the next one.
            int end = hashed == bytes.Length ? piece.Length : piece.Length - LongestCharacter, i = 0;
            while (i < end)
            {
                int character = Decode(file, piece[i..], at + i, out int used);
                i += used;
                if (character == ByteOrderMark && at + i == ByteOrderMarkBytes)
                {
                    _first = ByteOrderMarkBytes;
                    continue;
                }

                if (Length % Spacing == 0) starts.Add(at + i - used);
                Length++;
                if (character < seen.Length) seen[character] = true;
                else beyond.Add(character);
            }

            at += i;
        }

        if (_first + Length < bytes.Length) _starts = starts.Span.ToArray();
        Hash = Convert.ToHexStringLower(hash.GetHashAndReset());
        Alphabet = [.. Enumerable.Range(0, seen.Length).Where(c => seen[c]), .. beyond];
    }

    /// <summary>The name that errors give.</summary>
    public string Path { get; }

    /// <summary>SHA-256 over the bytes of the text.</summary>
    public string Hash { get; }

    /// <summary>Characters; a byte order mark at the beginning is none of them.</summary>
    public long Length { get; }

    /// <summary>The different characters, ascending.</summary>
    public IReadOnlyList<int> Alphabet { get; }

    /// <summary>Whether it stays on disk.</summary>
    public bool IsMapped => _bytes.IsMapped;

    /// <summary>Opens a text.</summary>
    /// <param name="path">Its file, gzipped or not.</param>
    /// <param name="mapFrom">From how many bytes on a file is mapped.</param>
    /// <exception cref="Core.DistTrainException">It can't be read, or is no UTF-8: with the offset.</exception>
    public static CharacterText Read(string path, long mapFrom = ByteStore.MappedFrom)
    {
        using DataFile file = DataFile.Open(path);
        return new CharacterText(file, file.IsCompressed ? ByteStore.TakeAll(file) : ByteStore.Take(file, (ulong)file.StoredLength, "its length", mapFrom));
    }

    /// <summary>Reads characters from a place on.</summary>
    /// <exception cref="ArgumentOutOfRangeException">They are not within the text.</exception>
    public void Read(long start, Span<int> characters)
    {
        if (start < 0 || start > Length - characters.Length) throw new ArgumentOutOfRangeException(nameof(start), start, $"[{start}, {start + characters.Length}) is not within {Length} characters");
        if (characters.Length == 0) return;
        if (_starts == null)
        {
            ReadOnlySpan<byte> single = _bytes.Slice(_first + start, characters.Length);
            for (int i = 0; i < characters.Length; i++) characters[i] = single[i];
            GC.KeepAlive(this);
            return;
        }

        long at = _starts[start / Spacing];
        int skipped = (int)(start % Spacing);
        ReadOnlySpan<byte> bytes = _bytes.Slice(at, (int)Math.Min(_bytes.Length - at, (long)LongestCharacter * (skipped + characters.Length)));
        for (int i = -skipped; i < characters.Length; i++)
        {
            Rune.DecodeFromUtf8(bytes, out Rune rune, out int used);
            if (i >= 0) characters[i] = rune.Value;
            bytes = bytes[used..];
        }

        GC.KeepAlive(this);
    }

    private static int Decode(DataFile file, ReadOnlySpan<byte> bytes, long offset, out int used)
    {
        used = 1;
        if (bytes[0] < 0x80) return bytes[0];
        if (Rune.DecodeFromUtf8(bytes, out Rune rune, out used) == OperationStatus.Done) return rune.Value;
        throw file.Bad($"offset {offset}: byte 0x{bytes[0]:x2} begins no UTF-8 character; a text has to be in UTF-8");
    }
}
