using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;

namespace DistTrain.Data;

/// <summary>What an array's elements are.</summary>
internal enum NpyType
{
    Float32,
    Float64,
    UInt8,
    Int8,
    Int16,
    UInt16,
    Int32,
    UInt32,
    Int64,
    Bool,
}

/// <summary>
/// One array in NumPy's format (NumPy Enhancement Proposal 1, versions 1 to 3): 93 'NUMPY', two bytes of version, the
/// header's length, the header as a Python dictionary with descr, fortran_order and shape, then the elements. Little-endian
/// and C order only.
/// </summary>
internal sealed partial class NpyFile
{
    private const int LongestHeader = 1 << 16;

    private static readonly Dictionary<string, (NpyType Type, int Size)> Types = new(StringComparer.Ordinal)
    {
        ["<f4"] = (NpyType.Float32, 4),
        ["<f8"] = (NpyType.Float64, 8),
        ["|u1"] = (NpyType.UInt8, 1),
        ["|i1"] = (NpyType.Int8, 1),
        ["<i2"] = (NpyType.Int16, 2),
        ["<u2"] = (NpyType.UInt16, 2),
        ["<i4"] = (NpyType.Int32, 4),
        ["<u4"] = (NpyType.UInt32, 4),
        ["<i8"] = (NpyType.Int64, 8),
        ["|b1"] = (NpyType.Bool, 1),
    };

    private NpyFile(string path, NpyType type, int size, long[] shape, ByteStore elements) =>
        (Path, Type, Size, Shape, Elements) = (path, type, size, shape, elements);

    /// <summary>The name that errors give.</summary>
    public string Path { get; }

    public NpyType Type { get; }

    /// <summary>Bytes of an element.</summary>
    public int Size { get; }

    /// <summary>The dimensions, the number of examples first.</summary>
    public long[] Shape { get; }

    /// <summary>The elements, row-major.</summary>
    public ByteStore Elements { get; }

    /// <summary>Elements of one example.</summary>
    public long RowLength => Shape.Skip(1).Aggregate(1L, (n, d) => n * d);

    /// <summary>Whether elements are real numbers rather than whole ones.</summary>
    public bool IsReal => Type is NpyType.Float32 or NpyType.Float64;

    /// <summary>Reads an array of at least one dimension.</summary>
    /// <exception cref="Core.DistTrainException">Naming the file and what is wrong with it.</exception>
    public static NpyFile Read(DataFile file, long mapFrom = ByteStore.MappedFrom)
    {
        Span<byte> start = stackalloc byte[8];
        int got = file.Read(start);
        if (got < 8 || start[0] != 0x93 || !start[1..6].SequenceEqual("NUMPY"u8)) throw file.Bad("no NumPy array: it doesn't begin with 93 'NUMPY'");

        if (start[6] is < 1 or > 3) throw file.Bad($"NumPy format version {start[6]}.{start[7]}; versions 1 to 3 are read");
        Span<byte> length = stackalloc byte[start[6] == 1 ? 2 : 4];
        if (file.Read(length) < length.Length) throw file.Bad("cut off within its header");
        long headerLength = length.Length == 2 ? BinaryPrimitives.ReadUInt16LittleEndian(length) : BinaryPrimitives.ReadUInt32LittleEndian(length);
        if (headerLength > LongestHeader) throw file.Bad($"a header of {headerLength} bytes; at most {LongestHeader} are read");
        var header = new byte[headerLength];
        if (file.Read(header) < header.Length) throw file.Bad("cut off within its header");
        return Parse(file, Encoding.UTF8.GetString(header), mapFrom);
    }

    /// <summary>Reads elements from a place on.</summary>
    public void Read(long first, Span<double> to)
    {
        ReadOnlySpan<byte> bytes = Elements.Slice(first * Size, to.Length * Size);
        switch (Type)
        {
            case NpyType.Float32:
                Convert(MemoryMarshal.Cast<byte, float>(bytes), to);
                break;
            case NpyType.Float64:
                MemoryMarshal.Cast<byte, double>(bytes).CopyTo(to);
                break;
            case NpyType.UInt8 or NpyType.Bool:
                Convert(bytes, to);
                break;
            case NpyType.Int8:
                Convert(MemoryMarshal.Cast<byte, sbyte>(bytes), to);
                break;
            case NpyType.Int16:
                Convert(MemoryMarshal.Cast<byte, short>(bytes), to);
                break;
            case NpyType.UInt16:
                Convert(MemoryMarshal.Cast<byte, ushort>(bytes), to);
                break;
            case NpyType.Int32:
                Convert(MemoryMarshal.Cast<byte, int>(bytes), to);
                break;
            case NpyType.UInt32:
                Convert(MemoryMarshal.Cast<byte, uint>(bytes), to);
                break;
            default:
                Convert(MemoryMarshal.Cast<byte, long>(bytes), to);
                break;
        }

        GC.KeepAlive(this);
    }

    private static void Convert<T>(ReadOnlySpan<T> from, Span<double> to)
        where T : unmanaged, INumberBase<T>
    {
        for (int i = 0; i < to.Length; i++) to[i] = double.CreateTruncating(from[i]);
    }

    private static NpyFile Parse(DataFile file, string header, long mapFrom)
    {
        string descr = Descr().Match(header) is { Success: true } d ? d.Groups["value"].Value : throw file.Bad($"its header names no simple type: {header.Trim()}");
        if (!Types.TryGetValue(descr, out (NpyType Type, int Size) type)) throw file.Bad($"elements of type '{descr}'; expected one of {string.Join(", ", Types.Keys)}");
        if (!FortranOrder().Match(header).Groups["value"].Value.Equals("False", StringComparison.Ordinal)) throw file.Bad("in Fortran order; save it with numpy.ascontiguousarray");
        Match shapeText = ShapeTuple().Match(header);
        if (!shapeText.Success) throw file.Bad($"its header names no shape: {header.Trim()}");
        string[] parts = shapeText.Groups["value"].Value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        var shape = new long[parts.Length];
        UInt128 length = (UInt128)type.Size;
        for (int i = 0; i < parts.Length; i++)
        {
            if (!long.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out shape[i]) || shape[i] is 0 or > int.MaxValue) throw file.Bad($"dimension {i + 1} is {parts[i]}; expected 1 to {int.MaxValue}");
            length *= (ulong)shape[i];
            if (length > long.MaxValue) throw file.Bad($"its header claims more than {long.MaxValue} bytes");
        }

        if (shape.Length == 0) throw file.Bad("a single number; expected an array with a row for each example");
        return new NpyFile(file.Path, type.Type, type.Size, shape, ByteStore.Take(file, length, $"its header claims {string.Join(" x ", shape)} of '{descr}'", mapFrom));
    }

    [GeneratedRegex("""['"]descr['"]\s*:\s*['"](?<value>[^'"]*)['"]""", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Descr();

    [GeneratedRegex("""['"]fortran_order['"]\s*:\s*(?<value>True|False)""", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex FortranOrder();

    [GeneratedRegex("""['"]shape['"]\s*:\s*\((?<value>[^)]*)\)""", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex ShapeTuple();
}
