using System.Collections.Frozen;
using System.Collections.Immutable;

namespace DistTrain.Training.Checkpoints;

/// <summary>A tensor to be written: fp32, row-major.</summary>
/// <param name="Name">Unique within the file, such as <c>0.weight</c>.</param>
/// <param name="Shape">Dimensions; empty for a scalar.</param>
public sealed record TensorSpec(string Name, ImmutableArray<int> Shape)
{
    /// <summary>Elements: the product of the shape.</summary>
    public long Length { get; } = Shape.Aggregate(1L, (n, d) => checked(n * d));
}

/// <summary>A tensor as a safetensors file describes it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">The element type as the format spells it: F32, BF16, I64, …</param>
/// <param name="Shape">Dimensions; empty for a scalar.</param>
/// <param name="Begin">First byte, counted from the first byte of data.</param>
/// <param name="End">The byte after its last.</param>
public sealed record SafetensorsTensor(string Name, string Type, ImmutableArray<long> Shape, long Begin, long End)
{
    /// <summary>The type of fp32 elements, the only one that DistTrain writes.</summary>
    public const string Float32 = "F32";

    /// <summary>Bits an element of each type that the format knows.</summary>
    internal static FrozenDictionary<string, int> Bits { get; } = new Dictionary<string, int>(StringComparer.Ordinal)
    {
        ["BOOL"] = 8,
        ["F4"] = 4,
        ["F6_E2M3"] = 6,
        ["F6_E3M2"] = 6,
        ["U8"] = 8,
        ["I8"] = 8,
        ["F8_E5M2"] = 8,
        ["F8_E4M3"] = 8,
        ["F8_E8M0"] = 8,
        ["I16"] = 16,
        ["U16"] = 16,
        ["F16"] = 16,
        ["BF16"] = 16,
        ["I32"] = 32,
        ["U32"] = 32,
        [Float32] = 32,
        ["C64"] = 64,
        ["F64"] = 64,
        ["I64"] = 64,
        ["U64"] = 64,
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>Bytes.</summary>
    public long ByteLength => End - Begin;

    /// <summary>Elements: the product of the shape.</summary>
    public long Length => Shape.Aggregate(1L, (n, d) => n * d);
}

/// <summary>What a file is known by.</summary>
/// <param name="Bytes">Its size.</param>
/// <param name="Sha256">64 lower-case hexadecimal digits.</param>
public readonly record struct FileDigest(long Bytes, string Sha256);
