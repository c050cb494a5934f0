using System.Runtime.InteropServices;

// Tests force the SIMD path of the whole process.
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace DistTrain.Kernels.Tests;

/// <summary>Inputs, levels and the comparison of bits.</summary>
internal static unsafe class TestData
{
    /// <summary>Every level that this processor has.</summary>
    public static readonly SimdLevel[] Levels =
        [.. new[] { SimdLevel.Scalar, SimdLevel.Vector128, SimdLevel.Vector256, SimdLevel.Vector512 }.Where(l => l <= SimdPath.Widest)];

    /// <summary>Values of both signs between about 1e-3 and 8.</summary>
    public static void Fill(Span<float> x, int seed)
    {
        uint state = ((uint)seed * 2654435761u) + 12345;
        for (int i = 0; i < x.Length; i++)
        {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            x[i] = ((int)state * (1f / (1 << 29))) + 0.001f;
        }
    }

    public static float[] Random(int length, int seed)
    {
        var x = new float[length];
        Fill(x, seed);
        return x;
    }

    /// <summary>Random values with infinities, NaN, zeros of both signs and denormals among them.</summary>
    public static float[] Awkward(int length, int seed)
    {
        float[] special =
        [
            float.PositiveInfinity, float.NegativeInfinity, float.NaN, 0f, -0f, float.Epsilon, -1e-40f, float.MaxValue, float.MinValue,
            88.7f, 89f, -87.4f, -103.5f, -104.5f, 1e-38f,
        ];
        float[] x = Random(length, seed);
        for (int i = 0; i < length; i++)
            if ((i + seed) % 7 == 3) x[i] = special[(i + seed) / 7 % special.Length];
        return x;
    }

    /// <summary>"2+1 3": two leaves, the first of two ranges; where there is a +, all ranges are apart by a row.</summary>
    public static (KRange[] Ranges, int[] Starts, int Rows) Leaves(string leaves)
    {
        var ranges = new List<KRange>();
        var starts = new List<int> { 0 };
        int row = 0;
        foreach (string leaf in leaves.Split(' '))
        {
            foreach (string count in leaf.Split('+'))
            {
                ranges.Add(new KRange(row, int.Parse(count, null)));
                row += int.Parse(count, null) + (leaves.Contains('+') ? 1 : 0);
            }
            starts.Add(ranges.Count);
        }
        return ([.. ranges], [.. starts], Math.Max(row, 1));
    }

    /// <summary>Fails unless both have the same bits; any NaN equals any NaN.</summary>
    public static void AssertSameBits(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        if (MemoryMarshal.AsBytes(expected).SequenceEqual(MemoryMarshal.AsBytes(actual))) return;
        for (int i = 0; i < expected.Length; i++)
        {
            if (float.IsNaN(expected[i]) && float.IsNaN(actual[i])) continue;
            if (BitConverter.SingleToInt32Bits(expected[i]) != BitConverter.SingleToInt32Bits(actual[i]))
                Assert.Fail($"{what}: element {i} of {expected.Length} should be {expected[i]:G9}, is {actual[i]:G9}.");
        }
    }

    /// <summary>How many floats lie between a value and the exact result, counted in its unit in the last place.</summary>
    public static double UlpError(float actual, double exact)
    {
        if (double.IsNaN(exact)) return float.IsNaN(actual) ? 0 : double.PositiveInfinity;
        float rounded = (float)exact;
        if (actual == rounded) return 0;
        if (!float.IsFinite(actual) || !float.IsFinite(rounded)) return double.PositiveInfinity;
        double unit = Math.Max(Math.Abs((double)MathF.BitIncrement(MathF.Abs(rounded)) - MathF.Abs(rounded)), float.Epsilon);
        return Math.Abs(actual - exact) / unit;
    }
}
