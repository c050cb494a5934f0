using System.Buffers.Binary;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// An IDX file of unsigned bytes, the format of the MNIST family (Y. LeCun, C. Cortes, C. Burges, "The MNIST database",
/// file format section): two zero bytes, the type (0x08 for unsigned bytes), the number of dimensions, each dimension
/// as a big-endian 32-bit number, then the elements.
/// </summary>
internal sealed class IdxFile
{
    private const byte UnsignedByte = 0x08;

    // What is read before more memory is taken: a lying header costs no more than this beyond what the file holds.
    private const int FirstPiece = 1 << 20;

    private IdxFile(string path, int[] dimensions, byte[] elements)
    {
        Path = path;
        Dimensions = dimensions;
        Elements = elements;
    }

    public string Path { get; }

    /// <summary>The dimensions, the number of examples first.</summary>
    public int[] Dimensions { get; }

    /// <summary>The elements, row-major.</summary>
    public byte[] Elements { get; }

    /// <summary>Reads a file of <paramref name="minimumDimensions"/> to <paramref name="maximumDimensions"/> dimensions.</summary>
    /// <exception cref="DistTrainException">Naming the file and the offset: a wrong magic number or type, dimensions
    /// that the file's size can't hold, too few or too many bytes.</exception>
    public static IdxFile Read(DataFile file, int minimumDimensions, int maximumDimensions)
    {
        Span<byte> header = stackalloc byte[4 + 4 * maximumDimensions];
        int got = file.Read(header[..4]);
        if (got < 4) throw file.Bad($"cut off at offset {got}: an IDX file starts with 4 bytes of magic number");
        if (header[0] != 0 || header[1] != 0)
        {
            throw file.Bad($"offset 0: expected the IDX magic number 00 00 08 and a number of dimensions, got {header[0]:x2} {header[1]:x2} {header[2]:x2} {header[3]:x2}; no IDX file");
        }

        if (header[2] != UnsignedByte) throw file.Bad($"offset 2: IDX type 0x{header[2]:x2}; only unsigned bytes (0x08) are read");
        int rank = header[3];
        if (rank < minimumDimensions || rank > maximumDimensions)
        {
            string expected = minimumDimensions == maximumDimensions ? $"{minimumDimensions}" : $"{minimumDimensions} to {maximumDimensions}";
            throw file.Bad($"offset 3: {rank} dimensions; expected {expected}{(minimumDimensions == 1 ? " (a file of labels)" : " (a file of images)")}");
        }

        got = file.Read(header.Slice(4, 4 * rank));
        if (got < 4 * rank) throw file.Bad($"cut off at offset {4 + got}, within its {rank} dimensions");
        var dimensions = new int[rank];
        for (int i = 0; i < rank; i++) dimensions[i] = ReadDimension(file, header, i);
        return new IdxFile(file.Path, dimensions, ReadElements(file, dimensions));
    }

    private static int ReadDimension(DataFile file, ReadOnlySpan<byte> header, int i)
    {
        uint value = BinaryPrimitives.ReadUInt32BigEndian(header[(4 + 4 * i)..]);
        if (value is 0 or > int.MaxValue) throw file.Bad($"offset {4 + 4 * i}: dimension {i + 1} is {value}; expected 1 to {int.MaxValue}");
        return (int)value;
    }

    private static byte[] ReadElements(DataFile file, int[] dimensions)
    {
        long start = file.Position;
        UInt128 claimed = 1;
        foreach (int d in dimensions) claimed *= (uint)d;
        string shape = string.Join(" x ", dimensions);
        if (claimed + (ulong)start > (ulong)file.LengthBound)
        {
            string most = file.IsCompressed ? $"{file.StoredLength} compressed bytes, which can't hold so much" : $"{file.StoredLength}";
            throw file.Bad($"its header claims {shape} = {claimed} bytes after offset {start}; the file has {most}");
        }

        if (claimed > (ulong)Array.MaxLength) throw file.Bad($"its header claims {shape} = {claimed} bytes; at most {Array.MaxLength} are read");
        long length = (long)claimed;
        MemoryGuard.Check(file.Path, length);
        var elements = new byte[file.IsCompressed ? Math.Min(length, FirstPiece) : length];
        int filled = 0;
        while (true)
        {
            filled += file.Read(elements.AsSpan(filled));
            if (filled < elements.Length) throw file.Bad($"cut off at offset {start + filled}: its header claims {shape} = {length} bytes after offset {start}, got {filled}");
            if (filled == length) break;
            Array.Resize(ref elements, (int)Math.Min(length, 2L * elements.Length));
        }

        Span<byte> beyond = stackalloc byte[1];
        if (file.Read(beyond) != 0) throw file.Bad($"offset {start + length}: bytes after the end of its {shape} elements");
        return elements;
    }
}
