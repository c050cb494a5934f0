using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// Blocks of <see cref="KeyedRandom"/> side by side, one in each 64-bit lane, of which the lower half counts: integers, so the
/// words are the same as one by one. What is asked of them is which are not below a threshold.
/// </summary>
internal static class PhiloxLanes
{
    /// <summary>Eight blocks from <paramref name="block"/> on: bit i says whether the upper 24 bits of word i are at least the threshold.</summary>
    public static uint Wide(in KeyedRandom random, ulong step, uint block, uint threshold)
    {
        Vector512<ulong> a = Vector512.Create((ulong)block) + Vector512.Create(0UL, 1, 2, 3, 4, 5, 6, 7);
        Vector512<ulong> b = Vector512.Create((ulong)(uint)step), c = Vector512.Create(step >> 32), d = Vector512.Create((ulong)random.Purpose);
        Vector512<uint> m0 = Vector512.Create(KeyedRandom.Multiplier0), m1 = Vector512.Create(KeyedRandom.Multiplier1);
        uint key0 = (uint)random.Seed, key1 = (uint)(random.Seed >> 32);
        for (int round = 0; round < 10; round++)
        {
            Vector512<ulong> product0 = Avx512F.Multiply(a.AsUInt32(), m0), product1 = Avx512F.Multiply(c.AsUInt32(), m1);
            a = (product1 >> 32) ^ b ^ Vector512.Create((ulong)key0);
            b = product1;
            c = (product0 >> 32) ^ d ^ Vector512.Create((ulong)key1);
            d = product0;
            key0 += KeyedRandom.Weyl0;
            key1 += KeyedRandom.Weyl1;
        }
        Vector512<ulong> least = Vector512.Create((ulong)threshold << 8), low = Vector512.Create((ulong)uint.MaxValue);
        return EveryFourth(Kept(a)) | (EveryFourth(Kept(b)) << 1) | (EveryFourth(Kept(c)) << 2) | (EveryFourth(Kept(d)) << 3);

        uint Kept(Vector512<ulong> words) => (uint)Vector512.GreaterThanOrEqual(words & low, least).ExtractMostSignificantBits();
    }

    /// <summary>Four blocks from <paramref name="block"/> on, as in <see cref="Wide"/>.</summary>
    public static uint Narrow(in KeyedRandom random, ulong step, uint block, uint threshold)
    {
        Vector256<ulong> a = Vector256.Create((ulong)block) + Vector256.Create(0UL, 1, 2, 3);
        Vector256<ulong> b = Vector256.Create((ulong)(uint)step), c = Vector256.Create(step >> 32), d = Vector256.Create((ulong)random.Purpose);
        Vector256<uint> m0 = Vector256.Create(KeyedRandom.Multiplier0), m1 = Vector256.Create(KeyedRandom.Multiplier1);
        uint key0 = (uint)random.Seed, key1 = (uint)(random.Seed >> 32);
        for (int round = 0; round < 10; round++)
        {
            Vector256<ulong> product0 = Avx2.Multiply(a.AsUInt32(), m0), product1 = Avx2.Multiply(c.AsUInt32(), m1);
            a = (product1 >> 32) ^ b ^ Vector256.Create((ulong)key0);
            b = product1;
            c = (product0 >> 32) ^ d ^ Vector256.Create((ulong)key1);
            d = product0;
            key0 += KeyedRandom.Weyl0;
            key1 += KeyedRandom.Weyl1;
        }
        // Below 2^63, so that the signed comparison of AVX2 will do.
        Vector256<long> least = Vector256.Create((long)threshold << 8), low = Vector256.Create((long)uint.MaxValue);
        return EveryFourth(Kept(a)) | (EveryFourth(Kept(b)) << 1) | (EveryFourth(Kept(c)) << 2) | (EveryFourth(Kept(d)) << 3);

        uint Kept(Vector256<ulong> words) => Vector256.GreaterThanOrEqual(words.AsInt64() & low, least).ExtractMostSignificantBits();
    }

    // Bit i of eight goes to bit 4i.
    private static uint EveryFourth(uint bits)
    {
        uint two = (bits | (bits << 12)) & 0x000F000F;
        uint four = (two | (two << 6)) & 0x03030303;
        return (four | (four << 3)) & 0x11111111;
    }
}
