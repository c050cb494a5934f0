using System.Text;

namespace DistTrain.Fuzz;

/// <summary>Random choices that follow from (seed, target, number of the input) alone, so that any input can be made again.</summary>
internal sealed class FuzzRandom
{
    // SplitMix64: G. Steele, D. Lea, C. Flood 2014, "Fast Splittable Pseudorandom Number Generators".
    private ulong _state;

    public FuzzRandom(ulong seed, string target, long input)
    {
        _state = seed;
        foreach (byte b in Encoding.UTF8.GetBytes(target)) _state = Mix(_state ^ b);
        _state = Mix(_state ^ (ulong)input);
    }

    public ulong Bits()
    {
        _state += 0x9E3779B97F4A7C15;
        return Mix(_state);
    }

    /// <summary>0 to <paramref name="below"/> - 1; 0 where that is nothing.</summary>
    public int Next(int below) => below <= 1 ? 0 : (int)(Bits() % (ulong)below);

    public int Next(int from, int below) => from + Next(below - from);

    public bool Chance(double share) => (Bits() >> 11) * (1.0 / (1L << 53)) < share;

    public T Pick<T>(IReadOnlyList<T> items) => items[Next(items.Count)];

    public byte[] Bytes(int count)
    {
        byte[] bytes = new byte[count];
        for (int i = 0; i < count; i++) bytes[i] = (byte)Bits();
        return bytes;
    }

    /// <summary>A length: mostly short, seldom long.</summary>
    public int Length(int most) => Chance(0.9) ? Next(Math.Min(most, 16) + 1) : Next(most + 1);

    /// <summary>A number where bounds are: 0, -1, powers of two and their neighbours, the extremes.</summary>
    public long Extreme()
    {
        long power = Next(8) == 0 ? long.MaxValue : 1L << Next(63);
        return Next(6) switch
        {
            0 => 0,
            1 => -1 - Next(3),
            2 => Chance(0.5) ? long.MinValue : int.MinValue,
            3 => -power,
            4 => Chance(0.5) ? int.MaxValue - Next(2) : (long)uint.MaxValue + Next(3) - 1,
            _ => power + Next(3) - 1,
        };
    }

    /// <summary>A number as honest messages have it, or an extreme one.</summary>
    public long Number(int plausible = 5, double honest = 0.8) => Chance(honest) ? Next(plausible) : Extreme();

    public double Real() => Next(10) switch
    {
        0 => double.NaN,
        1 => double.PositiveInfinity,
        2 => double.NegativeInfinity,
        3 => -0.0,
        4 => double.Epsilon,
        5 => double.MaxValue,
        6 => -double.MaxValue,
        _ => (Next(2001) - 1000) / 16.0,
    };

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
