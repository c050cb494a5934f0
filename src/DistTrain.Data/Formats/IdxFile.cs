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

    private IdxFile(string path, int[] dimensions, ByteStore elements)
    {
        Path = path;
        Dimensions = dimensions;
        Elements = elements;
    }

    public string Path { get; }

    /// <summary>The dimensions, the number of examples first.</summary>
    public int[] Dimensions { get; }

    /// <summary>The elements, row-major.</summary>
    public ByteStore Elements { get; }

    /// <summary>Reads a file of <paramref name="minimumDimensions"/> to <paramref name="maximumDimensions"/> dimensions.</summary>
    /// <exception cref="DistTrainException">Naming the file and the offset: a wrong magic number or type, dimensions
    /// that the file's size can't hold, too few or too many bytes.</exception>
    public static IdxFile Read(DataFile file, int minimumDimensions, int maximumDimensions, long mapFrom = ByteStore.MappedFrom)
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
        return new IdxFile(file.Path, dimensions, ReadElements(file, dimensions, mapFrom));
    }

    private static int ReadDimension(DataFile file, ReadOnlySpan<byte> header, int i)
    {
        uint value = BinaryPrimitives.ReadUInt32BigEndian(header[(4 + 4 * i)..]);
        if (value is 0 or > int.MaxValue) throw file.Bad($"offset {4 + 4 * i}: dimension {i + 1} is {value}; expected 1 to {int.MaxValue}");
        return (int)value;
    }

    private static ByteStore ReadElements(DataFile file, int[] dimensions, long mapFrom)
    {
        UInt128 claimed = 1;
        foreach (int d in dimensions) claimed *= (uint)d;
        return ByteStore.Take(file, claimed, $"its header claims {string.Join(" x ", dimensions)}", mapFrom);
    }
}
