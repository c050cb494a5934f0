using System.Buffers.Binary;
using System.IO.Compression;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// A data file opened for reading from its start, gunzipped where its first bytes say gzip (its name doesn't count).
/// Every error names the file.
/// </summary>
/// <remarks>
/// The runtime's GZipStream takes a file that ends early, or has a wrong checksum, for a short one and says nothing; so
/// checksum and length are verified here. That wants one gzip member a file, which is what gzip, pigz and Python write.
/// </remarks>
internal sealed class DataFile : IDisposable
{
    /// <summary>No deflate stream expands by more than this.</summary>
    public const long MaximumExpansion = 1032;

    private readonly Stream _stream;
    private readonly GZipStream? _gzip;
    private readonly uint _expectedCrc;
    private readonly uint _expectedLength;
    private uint _crc;
    private bool _ended;

    private DataFile(string path, Stream stream)
    {
        Path = path;
        _stream = stream;
        StoredLength = stream.Length;
        Span<byte> magic = stackalloc byte[2];
        int read = stream.ReadAtLeast(magic, 2, throwOnEndOfStream: false);
        stream.Position = 0;
        if (read < 2 || magic[0] != 0x1F || magic[1] != 0x8B) return;
        // A header of 10 bytes, a stream of at least 2, a trailer of 8.
        if (StoredLength < 20) throw Bad($"a gzip file cut off after {StoredLength} bytes");
        Span<byte> trailer = stackalloc byte[8];
        stream.Position = StoredLength - 8;
        stream.ReadExactly(trailer);
        stream.Position = 0;
        _expectedCrc = BinaryPrimitives.ReadUInt32LittleEndian(trailer);
        _expectedLength = BinaryPrimitives.ReadUInt32LittleEndian(trailer[4..]);
        _gzip = new GZipStream(stream, CompressionMode.Decompress, leaveOpen: true);
    }

    /// <summary>The name that errors give.</summary>
    public string Path { get; }

    /// <summary>Bytes on disk.</summary>
    public long StoredLength { get; }

    /// <summary>Whether the content is gunzipped.</summary>
    public bool IsCompressed => _gzip != null;

    /// <summary>Whether the content lies on disk as it is, under <see cref="Path"/>.</summary>
    public bool CanBeMapped => _stream is FileStream && !IsCompressed;

    /// <summary>Bytes of content read so far.</summary>
    public long Position { get; private set; }

    /// <summary>The most bytes that the content can have.</summary>
    public long LengthBound => IsCompressed ? StoredLength * MaximumExpansion : StoredLength;

    /// <summary>Opens the file at <paramref name="path"/>.</summary>
    /// <exception cref="DistTrainException">It can't be opened, or is cut off within the gzip header.</exception>
    public static DataFile Open(string path)
    {
        Stream? stream = null;
        try
        {
            stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1 << 16, FileOptions.SequentialScan);
            return new DataFile(path, stream);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            stream?.Dispose();
            string reason = e switch
            {
                FileNotFoundException or DirectoryNotFoundException => "no such file",
                UnauthorizedAccessException when Directory.Exists(path) => "is a directory, not a file",
                UnauthorizedAccessException => "may not be read by this user",
                _ => e.Message,
            };
            throw new DistTrainException(ExitCode.BadData, $"{path}: {reason}", e);
        }
        catch
        {
            stream?.Dispose();
            throw;
        }
    }

    /// <summary>Reads from a seekable stream, such as an embedded resource.</summary>
    public static DataFile Open(string name, Stream stream) => new(name, stream);

    /// <summary>Fills <paramref name="buffer"/> as far as the content goes; less than its length only at the end, where
    /// a gzip file's checksum has been verified.</summary>
    public int Read(Span<byte> buffer)
    {
        int total = 0;
        try
        {
            while (total < buffer.Length && !_ended)
            {
                int n = (_gzip ?? _stream).Read(buffer[total..]);
                if (n == 0) _ended = true;
                if (IsCompressed) _crc = Crc32.Append(_crc, buffer.Slice(total, n));
                total += n;
                Position += n;
            }
        }
        catch (InvalidDataException e)
        {
            throw new DistTrainException(ExitCode.BadData, $"{Path}: damaged gzip file, after {Position + total} bytes of content: {e.Message}", e);
        }
        catch (IOException e)
        {
            throw new DistTrainException(ExitCode.BadData, $"{Path}: can't be read at offset {Position}: {e.Message}", e);
        }

        if (_ended && IsCompressed) Verify();
        return total;
    }

    /// <summary>An error about this file's content.</summary>
    public DistTrainException Bad(string message) => new(ExitCode.BadData, $"{Path}: {message}");

    /// <inheritdoc/>
    public void Dispose()
    {
        _gzip?.Dispose();
        _stream.Dispose();
    }

    private void Verify()
    {
        if ((uint)Position != _expectedLength || _crc != _expectedCrc)
        {
            throw Bad($"damaged or cut-off gzip file: expected {_expectedLength} bytes with CRC {_expectedCrc:x8} by its trailer, got {Position} with {_crc:x8} (files of several gzip members are not read)");
        }
    }
}
