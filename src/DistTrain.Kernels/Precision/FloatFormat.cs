namespace DistTrain.Kernels;

/// <summary>How the floats of an array are stored.</summary>
public enum FloatFormat
{
    /// <summary>32 bits.</summary>
    Float32,

    /// <summary>16 bits: the upper half of a 32-bit float.</summary>
    BFloat16,

    /// <summary>16 bits as IEEE 754 binary16 has them.</summary>
    Float16,
}

/// <summary>What a <see cref="FloatFormat"/> is in memory.</summary>
public static class FloatFormats
{
    /// <summary>Bytes of one value.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The format is none.</exception>
    public static int Size(this FloatFormat format) => format switch
    {
        FloatFormat.Float32 => 4,
        FloatFormat.BFloat16 or FloatFormat.Float16 => 2,
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, "Unknown float format."),
    };
}
