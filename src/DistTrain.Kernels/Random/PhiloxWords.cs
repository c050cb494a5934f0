using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// The words of sixteen consecutive blocks of <see cref="KeyedRandom"/> as four vectors of sixteen lanes: lane l of vector v is
/// word 2·(v mod 2) + (l mod 2) of block 8·(v / 2) + l / 2. Integers, so the words are the same at every width.
/// </summary>
internal static unsafe class PhiloxWords
{
    /// <summary>Words that <see cref="Fill{T}"/> makes.</summary>
    public const int Count = 64;

    /// <summary>Fills the vectors.</summary>
    /// <param name="random">Seed and purpose.</param>
    /// <param name="step">The training step.</param>
    /// <param name="block">The first block.</param>
    /// <param name="words">(64): overwritten.</param>
    public static void Fill<T>(in KeyedRandom random, ulong step, uint block, uint* words)
        where T : struct, ILanes<T>
    {
        if (typeof(T) == typeof(Lanes512))
        {
            Wide(random, step, block, words);
        }
        else if (typeof(T) == typeof(Lanes256))
        {
            for (uint half = 0; half < 2; half++)
            {
                Narrow(random, step, block + (8 * half), words + (32 * half));
                Narrow(random, step, block + (8 * half) + 4, words + (32 * half) + 8);
            }
        }
        else
        {
            for (uint b = 0; b < 16; b++)
            {
                KeyedRandom.Words four = random.Block(step, block + b);
                uint* to = words + (32 * (b / 8)) + (2 * (b % 8));
                (to[0], to[1], to[16], to[17]) = (four.A, four.B, four.C, four.D);
            }
        }
    }

    // Two chains of operations side by side: one alone would wait for its products.
    private static void Wide(in KeyedRandom random, ulong step, uint block, uint* words)
    {
        Vector512<ulong> a = Vector512.Create((ulong)block) + Vector512.Create(0UL, 1, 2, 3, 4, 5, 6, 7), e = a + Vector512.Create(8UL);
        Vector512<ulong> b = Vector512.Create((ulong)(uint)step), c = Vector512.Create(step >> 32), d = Vector512.Create((ulong)random.Purpose);
        Vector512<ulong> f = b, g = c, h = d;
        Vector512<uint> m0 = Vector512.Create(KeyedRandom.Multiplier0), m1 = Vector512.Create(KeyedRandom.Multiplier1);
        uint key0 = (uint)random.Seed, key1 = (uint)(random.Seed >> 32);
        for (int round = 0; round < 10; round++)
        {
            Vector512<ulong> k0 = Vector512.Create((ulong)key0), k1 = Vector512.Create((ulong)key1);
            Vector512<ulong> product0 = Avx512F.Multiply(a.AsUInt32(), m0), product1 = Avx512F.Multiply(c.AsUInt32(), m1);
            Vector512<ulong> product2 = Avx512F.Multiply(e.AsUInt32(), m0), product3 = Avx512F.Multiply(g.AsUInt32(), m1);
            a = (product1 >> 32) ^ b ^ k0;
            e = (product3 >> 32) ^ f ^ k0;
            (b, f) = (product1, product3);
            c = (product0 >> 32) ^ d ^ k1;
            g = (product2 >> 32) ^ h ^ k1;
            (d, h) = (product0, product2);
            key0 += KeyedRandom.Weyl0;
            key1 += KeyedRandom.Weyl1;
        }

        Vector512<ulong> low = Vector512.Create((ulong)uint.MaxValue);
        ((a & low) | (b << 32)).AsUInt32().Store(words);
        ((c & low) | (d << 32)).AsUInt32().Store(words + 16);
        ((e & low) | (f << 32)).AsUInt32().Store(words + 32);
        ((g & low) | (h << 32)).AsUInt32().Store(words + 48);
    }

    // Four blocks, whose words are the lower or upper half of each vector.
    private static void Narrow(in KeyedRandom random, ulong step, uint block, uint* words)
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

        Vector256<ulong> low = Vector256.Create((ulong)uint.MaxValue);
        ((a & low) | (b << 32)).AsUInt32().Store(words);
        ((c & low) | (d << 32)).AsUInt32().Store(words + 16);
    }
}
