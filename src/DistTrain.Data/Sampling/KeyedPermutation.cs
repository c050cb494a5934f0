using System.Runtime.CompilerServices;

namespace DistTrain.Data;

/// <summary>
/// A stateless permutation of [0, n), chosen by a key: O(1) memory, any element at any time, nothing to communicate.
/// </summary>
/// <remarks>
/// The generalised Feistel cipher of Black and Rogaway, "Ciphers with Arbitrary Finite Domains" (CT-RSA 2002): an
/// index is written as (l, r) with l in [0, a), r in [0, b), a = ⌈√n⌉, b = ⌈n/a⌉, and rounds (8, or 24 below n = 1,024)
/// add a keyed hash of one half to the other, modulo its size. That permutes [0, a·b), which exceeds n by less than a; results of n or more
/// are put in again until one lies below n (cycle walking), which permutes [0, n). Integers only, so it is the same on
/// every machine.
/// </remarks>
public readonly struct KeyedPermutation
{
    private const int MaximumRounds = 24;

    // Eight rounds mix large domains well; tiny ones, whose halves have two or three values, take more.
    private const int Small = 1024;
    private const int RoundsWhenSmall = MaximumRounds;
    private const int RoundsWhenLarge = 8;

    private readonly ulong _a;
    private readonly ulong _b;
    private readonly int _rounds;
    private readonly RoundKeys _keys;

    /// <summary>The permutation of [0, <paramref name="count"/>) that belongs to a seed, a purpose and an index.</summary>
    /// <param name="seed">The job's seed.</param>
    /// <param name="purpose">What it is for ("shuffle", "split"), so that uses of one seed are independent.</param>
    /// <param name="index">Which of its kind, such as the epoch.</param>
    /// <param name="count">Number of elements, from 0 to 2^62.</param>
    public KeyedPermutation(ulong seed, string purpose, ulong index, long count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, 1L << 62);
        Count = count;
        ulong n = (ulong)count;
        _a = CeilingSqrt(n);
        _b = n == 0 ? 0 : (n + _a - 1) / _a;
        ulong state = Mix(Mix(Mix(seed + Golden) ^ HashOf(purpose)) + index * Golden);
        _rounds = count < Small ? RoundsWhenSmall : RoundsWhenLarge;
        for (int i = 0; i < _rounds; i++) _keys[i] = Mix(state += Golden);
    }

    /// <summary>Number of elements.</summary>
    public long Count { get; }

    private static ulong Golden => 0x9E3779B97F4A7C15;

    /// <summary>The element at place <paramref name="i"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="i"/> is outside [0, Count).</exception>
    public long Map(long i)
    {
        Check(i);
        ulong x = (ulong)i;
        do
        {
            ulong l = x / _b;
            ulong r = x - l * _b;
            for (int k = 0; k < _rounds; k += 2)
            {
                l = Add(l, Hash(r, _keys[k], _a), _a);
                r = Add(r, Hash(l, _keys[k + 1], _b), _b);
            }

            x = l * _b + r;
        }
        while (x >= (ulong)Count);
        return (long)x;
    }

    /// <summary>The place of element <paramref name="x"/>: the inverse of <see cref="Map"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="x"/> is outside [0, Count).</exception>
    public long Inverse(long x)
    {
        Check(x);
        ulong y = (ulong)x;
        do
        {
            ulong l = y / _b;
            ulong r = y - l * _b;
            for (int k = _rounds - 2; k >= 0; k -= 2)
            {
                r = Subtract(r, Hash(l, _keys[k + 1], _b), _b);
                l = Subtract(l, Hash(r, _keys[k], _a), _a);
            }

            y = l * _b + r;
        }
        while (y >= (ulong)Count);
        return (long)y;
    }

    private void Check(long i)
    {
        if ((ulong)i >= (ulong)Count) throw new ArgumentOutOfRangeException(nameof(i), i, $"outside [0, {Count})");
    }

    // Both below m, and m at most 2^62: no overflow.
    private static ulong Add(ulong x, ulong y, ulong m) => x + y >= m ? x + y - m : x + y;

    private static ulong Subtract(ulong x, ulong y, ulong m) => x >= y ? x - y : x + m - y;

    // The high half of hash times m lies in [0, m), near enough to uniform (m is at most 2^31).
    private static ulong Hash(ulong x, ulong key, ulong m) => Math.BigMul(Mix(x + key), m, out _);

    // The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    private static ulong Mix(ulong x)
    {
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }

    // FNV-1a over UTF-16 code units.
    private static ulong HashOf(string purpose)
    {
        ulong h = 0xCBF29CE484222325;
        foreach (char c in purpose) h = (h ^ c) * 0x100000001B3;
        return h;
    }

    // Bit by bit: floating-point square roots of numbers beyond 2^53 are not exact.
    private static ulong CeilingSqrt(ulong n)
    {
        ulong root = 0;
        for (ulong bit = 1UL << 31; bit != 0; bit >>= 1)
        {
            if ((root + bit) * (root + bit) <= n) root += bit;
        }

        return root * root == n ? root : root + 1;
    }

    [InlineArray(MaximumRounds)]
    private struct RoundKeys
    {
        private ulong _first;
    }
}
