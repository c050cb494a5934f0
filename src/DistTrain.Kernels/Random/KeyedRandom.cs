namespace DistTrain.Kernels;

/// <summary>
/// Counter-based random numbers: Philox4x32-10 (Salmon et al., 2011, 'Parallel random numbers: as easy as 1, 2, 3').
/// A number is a function of (seed, purpose, step, element) alone, so it does not matter who asks for it, when, or in
/// what pieces (invariant I1). The key is the seed; the counter is (element / 4, step low, step high, purpose), and
/// element mod 4 picks one of the block's four words.
/// </summary>
/// <param name="Seed">The job's seed.</param>
/// <param name="Purpose">What the numbers are for; streams of different purpose are independent.</param>
public readonly unsafe record struct KeyedRandom(ulong Seed, uint Purpose)
{
    internal const uint Multiplier0 = 0xD2511F53;
    internal const uint Multiplier1 = 0xCD9E8D57;
    internal const uint Weyl0 = 0x9E3779B9;
    internal const uint Weyl1 = 0xBB67AE85;

    /// <summary>The 32 random bits of one element, at most 2^34 - 1.</summary>
    public uint Bits(ulong step, ulong element)
    {
        Words words = Block(step, element >> 2);
        return words[(int)(element & 3)];
    }

    /// <summary>A value in [0, 1) on a grid of 2^-24.</summary>
    public float Uniform(ulong step, ulong element) => ToUnit(Bits(step, element));

    /// <summary>A value of the standard normal distribution.</summary>
    public float Normal(ulong step, ulong element)
    {
        Words words = Block(step, element >> 2);
        return ToNormal(words, (int)(element & 3));
    }

    /// <summary>x_i = fma(u, high - low, low), u the uniform value of element <paramref name="firstElement"/> + i.</summary>
    public void FillUniform(ulong step, ulong firstElement, float* x, nint length, float low, float high)
    {
        Check(x, length, firstElement);
        float range = high - low;
        Words words = default;
        for (nint i = 0; i < length; i++)
        {
            ulong element = firstElement + (ulong)i;
            if (i == 0 || (element & 3) == 0) words = Block(step, element >> 2);
            x[i] = MathF.FusedMultiplyAdd(ToUnit(words[(int)(element & 3)]), range, low);
        }
    }

    /// <summary>x_i = fma(z, deviation, mean), z the normal value of element <paramref name="firstElement"/> + i.</summary>
    public void FillNormal(ulong step, ulong firstElement, float* x, nint length, float mean, float deviation)
    {
        Check(x, length, firstElement);
        Words words = default;
        for (nint i = 0; i < length; i++)
        {
            ulong element = firstElement + (ulong)i;
            if (i == 0 || (element & 3) == 0) words = Block(step, element >> 2);
            x[i] = MathF.FusedMultiplyAdd(ToNormal(words, (int)(element & 3)), deviation, mean);
        }
    }

    /// <summary>The four words of a block: ten Philox rounds.</summary>
    internal Words Block(ulong step, ulong block)
    {
        var c = new Words((uint)block, (uint)step, (uint)(step >> 32), Purpose);
        uint key0 = (uint)Seed;
        uint key1 = (uint)(Seed >> 32);
        for (int round = 0; round < 10; round++)
        {
            ulong product0 = (ulong)Multiplier0 * c.A;
            ulong product1 = (ulong)Multiplier1 * c.C;
            c = new Words(
                (uint)(product1 >> 32) ^ c.B ^ key0, (uint)product1, (uint)(product0 >> 32) ^ c.D ^ key1, (uint)product0);
            key0 += Weyl0;
            key1 += Weyl1;
        }
        return c;
    }

    private static float ToUnit(uint bits) => (bits >> 8) * (1f / (1 << 24));

    // Box and Muller (1958) in double: words 0 and 1 make two normals, words 2 and 3 the other two.
    private static float ToNormal(Words words, int index)
    {
        bool second = index >= 2;
        double radius = Math.Sqrt(-2 * ScalarMath.Log(((double)(second ? words.C : words.A) + 1) * (1.0 / 4294967296.0)));
        double angle = (second ? words.D : words.B) * (2 * Math.PI / 4294967296.0);
        return (float)(radius * ((index & 1) == 0 ? ScalarMath.Cos(angle) : ScalarMath.Sin(angle)));
    }

    private static void Check(float* x, nint length, ulong firstElement)
    {
        Guard.Length(length, nameof(length));
        Guard.NotNull(x, length, nameof(x));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(firstElement, (1UL << 34) - (ulong)length);
    }

    /// <summary>A block of four words.</summary>
    internal readonly record struct Words(uint A, uint B, uint C, uint D)
    {
        public uint this[int index] => index switch { 0 => A, 1 => B, 2 => C, _ => D };
    }
}
