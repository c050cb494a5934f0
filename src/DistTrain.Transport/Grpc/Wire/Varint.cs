namespace DistTrain.Transport.Grpc;

/// <summary>Protobuf's variable-length integers.</summary>
internal static class Varint
{
    public const int MaxLength = 10;

    public static int Length(uint value)
    {
        int length = 1;
        for (; value >= 0x80; value >>= 7) length++;
        return length;
    }

    public static int Write(Span<byte> destination, uint value)
    {
        int i = 0;
        for (; value >= 0x80; value >>= 7) destination[i++] = (byte)(value | 0x80);
        destination[i++] = (byte)value;
        return i;
    }

    /// <summary>Bytes taken; 0 when more are needed; -1 when it is none.</summary>
    public static int Read(ReadOnlySpan<byte> source, out ulong value)
    {
        value = 0;
        for (int i = 0; i < MaxLength; i++)
        {
            if (i == source.Length) return 0;
            value |= (ulong)(source[i] & 0x7f) << (7 * i);
            if (source[i] < 0x80) return i + 1;
        }

        return -1;
    }
}
