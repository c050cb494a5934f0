using System.IO.MemoryMappedFiles;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// The content of a file from some place on: large uncompressed files stay on disk and are mapped, others are read into
/// memory. Immutable. A mapping lasts as long as its store is reachable: callers that hold a span keep the store alive.
/// </summary>
internal sealed unsafe class ByteStore
{
    /// <summary>Uncompressed content of this many bytes or more is mapped.</summary>
    public const long MappedFrom = 64 << 20;

    // What is read before more memory is taken: a lying header costs no more than this beyond what the file holds.
    private const int FirstPiece = 1 << 20;

    private readonly byte[]? _bytes;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly byte* _pointer;

    private ByteStore(byte[] bytes) => (_bytes, Length) = (bytes, bytes.Length);

    private ByteStore(DataFile file, long start, long length)
    {
        Length = length;
        try
        {
            // The view outlives the object that made it.
            using var mapped = MemoryMappedFile.CreateFromFile(file.Path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
            _view = mapped.CreateViewAccessor(start, length, MemoryMappedFileAccess.Read);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DistTrainException(ExitCode.BadData, $"{file.Path}: can't be mapped: {e.Message}", e);
        }

        // Not AcquirePointer, which would keep the mapping for ever: the handle lets it go when nothing reaches it any more.
        _pointer = (byte*)_view.SafeMemoryMappedViewHandle.DangerousGetHandle() + _view.PointerOffset;
    }

    /// <summary>Bytes of the content.</summary>
    public long Length { get; }

    /// <summary>Whether the content stays on disk.</summary>
    public bool IsMapped => _bytes == null;

    /// <summary>Takes what a format's header says to follow: <paramref name="length"/> bytes, and nothing behind them.</summary>
    /// <param name="file">Read up to the content.</param>
    /// <param name="length">Bytes of the content.</param>
    /// <param name="claim">The header's words for it, such as "its header claims 3 x 4".</param>
    /// <param name="mapFrom">From what length on a file is mapped; <see cref="MappedFrom"/>.</param>
    /// <exception cref="DistTrainException">The file is shorter or longer, or more than fits into memory.</exception>
    public static ByteStore Take(DataFile file, UInt128 length, string claim, long mapFrom = MappedFrom)
    {
        long start = file.Position;
        if (length + (ulong)start > (ulong)file.LengthBound)
        {
            string most = file.IsCompressed ? $"{file.StoredLength} compressed bytes, which can't hold so much" : $"{file.StoredLength}";
            throw file.Bad($"{claim} = {length} bytes after offset {start}; the file has {most}");
        }

        if (file.CanBeMapped && length >= (ulong)mapFrom && length > 0)
        {
            if (file.StoredLength > start + (long)length) throw TooLong(file, start + (long)length, claim);
            return new ByteStore(file, start, (long)length);
        }

        if (length > (ulong)Array.MaxLength) throw file.Bad($"{claim} = {length} bytes; at most {Array.MaxLength} are read");
        return new ByteStore(Read(file, start, (int)length, claim));
    }

    /// <summary>Takes all that is left of a file whose length isn't known, into memory.</summary>
    /// <exception cref="DistTrainException">It is damaged, or more than fits into memory.</exception>
    public static ByteStore TakeAll(DataFile file)
    {
        var bytes = new byte[FirstPiece];
        int filled = 0;
        while ((filled += file.Read(bytes.AsSpan(filled))) == bytes.Length)
        {
            if (bytes.Length == Array.MaxLength) throw file.Bad($"more than {Array.MaxLength} bytes of content; unpack it, so that it can stay on disk");
            long more = Math.Min(Array.MaxLength, 2L * bytes.Length);
            MemoryGuard.Check(file.Path, more);
            Array.Resize(ref bytes, (int)more);
        }

        Array.Resize(ref bytes, filled);
        return new ByteStore(bytes);
    }

    /// <summary>Content that is in memory already, and stays unchanged.</summary>
    public static ByteStore Of(byte[] bytes) => new(bytes);

    /// <summary>A part of the content.</summary>
    public ReadOnlySpan<byte> Slice(long start, int length)
    {
        if (start < 0 || length < 0 || start > Length - length) throw new ArgumentOutOfRangeException(nameof(start), start, $"[{start}, {start + length}) is not within {Length} bytes");
        return _bytes != null ? _bytes.AsSpan((int)start, length) : new ReadOnlySpan<byte>(_pointer + start, length);
    }

    /// <summary>Adds all of it to a hash, preceded by its length.</summary>
    public void AppendTo(ContentHasher hasher)
    {
        hasher.AppendLength(Length);
        const int Piece = 1 << 24;
        for (long at = 0; at < Length; at += Piece) hasher.AppendContent(Slice(at, (int)Math.Min(Piece, Length - at)));
        GC.KeepAlive(this);
    }

    private static byte[] Read(DataFile file, long start, int length, string claim)
    {
        MemoryGuard.Check(file.Path, length);
        var bytes = new byte[file.IsCompressed ? Math.Min(length, FirstPiece) : length];
        int filled = 0;
        while (true)
        {
            filled += file.Read(bytes.AsSpan(filled));
            if (filled < bytes.Length) throw file.Bad($"cut off at offset {start + filled}: {claim} = {length} bytes after offset {start}, got {filled}");
            if (filled == length) break;
            Array.Resize(ref bytes, (int)Math.Min(length, 2L * bytes.Length));
        }

        Span<byte> beyond = stackalloc byte[1];
        return file.Read(beyond) == 0 ? bytes : throw TooLong(file, start + length, claim);
    }

    private static DistTrainException TooLong(DataFile file, long end, string claim) => file.Bad($"offset {end}: bytes after the end of what {claim}");
}
