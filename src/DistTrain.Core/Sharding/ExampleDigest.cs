namespace DistTrain.Core.Sharding;

/// <summary>
/// A sum over examples that tells a collection of them from any other, however it was cut up and in whatever order it is added: those of parts add
/// up to that of the whole (a multiset hash; D. Clarke et al. 2003). It wraps around.
/// </summary>
public static class ExampleDigest
{
    /// <summary>The digest of examples, which may repeat.</summary>
    /// <param name="examples">Their indices.</param>
    public static ulong Of(ReadOnlySpan<long> examples)
    {
        ulong sum = 0;
        foreach (long example in examples) sum += Mix((ulong)example);
        return sum;
    }

    // The finalizer of SplitMix64 (G. Steele et al. 2014).
    private static ulong Mix(ulong x)
    {
        x += 0x9E3779B97F4A7C15;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }
}
