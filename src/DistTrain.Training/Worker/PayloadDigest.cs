using System.Numerics;
using System.Runtime.InteropServices;

namespace DistTrain.Training.Worker;

/// <summary>A digest of 64 bits that one flipped bit always changes: CRC-32C over four interleaved streams, which processors have an instruction for.</summary>
internal static class PayloadDigest
{
    /// <summary>The digest of values' bits.</summary>
    public static ulong Of(ReadOnlySpan<float> values)
    {
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<float, ulong>(values);
        uint a = 1, b = 2, c = 3, d = 4;
        int i = 0;
        for (; i <= words.Length - 4; i += 4)
        {
            a = BitOperations.Crc32C(a, words[i]);
            b = BitOperations.Crc32C(b, words[i + 1]);
            c = BitOperations.Crc32C(c, words[i + 2]);
            d = BitOperations.Crc32C(d, words[i + 3]);
        }

        for (; i < words.Length; i++) a = BitOperations.Crc32C(a, words[i]);
        if (values.Length % 2 != 0) a = BitOperations.Crc32C(a, BitConverter.SingleToUInt32Bits(values[^1]));
        // Each stream is in a place of its own of one of them, so that a change of one stream shows.
        uint high = BitOperations.Crc32C(a, ((ulong)b << 32) | c), low = BitOperations.Crc32C(d, ((ulong)c << 32) | a);
        return ((ulong)high << 32) | low;
    }
}
