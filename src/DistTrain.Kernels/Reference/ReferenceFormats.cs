namespace DistTrain.Kernels.Reference;

/// <summary>The 16-bit formats for one value.</summary>
internal static class ReferenceFormats
{
    public static ushort ToBFloat16(float x)
    {
        uint bits = BitConverter.SingleToUInt32Bits(x);
        if (float.IsNaN(x)) return (ushort)((bits >> 16) | 0x40);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    public static float FromBFloat16(ushort x) => BitConverter.UInt32BitsToSingle((uint)x << 16);

    /// <summary>By the class library's own conversion, which IEEE 754 defines.</summary>
    public static ushort ToFloat16(float x) => BitConverter.HalfToUInt16Bits((Half)x);

    public static float FromFloat16(ushort x) => (float)BitConverter.UInt16BitsToHalf(x);

    /// <summary>Rounds to the format and back.</summary>
    public static float Round(float x, FloatFormat format) => format switch
    {
        FloatFormat.BFloat16 => FromBFloat16(ToBFloat16(x)),
        FloatFormat.Float16 => FromFloat16(ToFloat16(x)),
        _ => x,
    };
}
