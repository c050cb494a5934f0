namespace DistTrain.Data.Tests.Sampling;

public class KeyedPermutationTests
{
    [Fact]
    public void Map_EveryCountUpTo300_IsABijectionWithItsInverse()
    {
        for (int n = 0; n <= 300; n++) AssertBijection(n, seed: (ulong)n);
    }

    [Theory]
    [InlineData(1437)]
    [InlineData(4096)]
    [InlineData(65535)]
    [InlineData(65536)]
    [InlineData(65537)]
    [InlineData(99_991)]
    public void Map_LargerCounts_IsABijectionWithItsInverse(int n) => AssertBijection(n, seed: 7);

    [Theory]
    [InlineData(1L << 31)]
    [InlineData((1L << 40) - 87)]
    [InlineData(1L << 62)]
    public void Map_HugeCounts_StaysInRangeAndInverts(long n)
    {
        var p = new KeyedPermutation(3, "shuffle", 5, n);
        for (long i = 0; i < 1000; i++)
        {
            foreach (long place in (long[])[i, n - 1 - i])
            {
                long x = p.Map(place);
                Assert.InRange(x, 0, n - 1);
                Assert.Equal(place, p.Inverse(x));
            }
        }
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(0, -1)]
    [InlineData(5, 5)]
    [InlineData(5, -1)]
    public void Map_OutsideItsRange_Throws(long n, long i)
    {
        var p = new KeyedPermutation(1, "shuffle", 0, n);
        Assert.Throws<ArgumentOutOfRangeException>(() => p.Map(i));
        Assert.Throws<ArgumentOutOfRangeException>(() => p.Inverse(i));
    }

    [Fact]
    public void Map_KnownKey_HasTheFrozenValues()
    {
        // These decide which examples a step of an existing job sees: they must never change.
        var p = new KeyedPermutation(1, "shuffle", 0, 1437);
        long[] first = [.. Enumerable.Range(0, 8).Select(i => p.Map(i))];
        Assert.Equal([375, 603, 1143, 533, 413, 692, 1035, 1127], first);
    }

    [Fact]
    public void Map_OtherSeedPurposeOrIndex_GivesOtherOrders()
    {
        long[] Order(ulong seed, string purpose, ulong index)
        {
            var p = new KeyedPermutation(seed, purpose, index, 1000);
            return [.. Enumerable.Range(0, 1000).Select(i => p.Map(i))];
        }

        long[][] orders = [Order(1, "shuffle", 0), Order(2, "shuffle", 0), Order(1, "split", 0), Order(1, "shuffle", 1), Order(0, "shuffle", 2)];
        for (int a = 0; a < orders.Length; a++)
        {
            for (int b = 0; b < a; b++)
            {
                // Independent orders agree in one place on average.
                int same = orders[a].Zip(orders[b]).Count(pair => pair.First == pair.Second);
                Assert.InRange(same, 0, 9);
            }
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    public void Map_SmallCounts_EveryPermutationIsAboutEquallyLikely(int n)
    {
        int factorial = Enumerable.Range(1, n).Aggregate(1, (a, b) => a * b);
        int trials = 100 * factorial;
        var counts = new Dictionary<string, int>();
        for (int t = 0; t < trials; t++)
        {
            var p = new KeyedPermutation(42, "shuffle", (ulong)t, n);
            string order = string.Join(',', Enumerable.Range(0, n).Select(i => p.Map(i)));
            counts[order] = counts.GetValueOrDefault(order) + 1;
        }

        Assert.Equal(factorial, counts.Count);
        AssertUniform(counts.Values, 100, factorial - 1);
    }

    [Theory]
    [InlineData(64)]
    [InlineData(1100)]
    public void Map_OneEpochAfterAnother_EachExampleIsEquallyLikelyAtEachPlace(int n)
    {
        const int Epochs = 2_000;
        var counts = new int[n, n];
        for (int epoch = 0; epoch < Epochs; epoch++)
        {
            var p = new KeyedPermutation(9, "shuffle", (ulong)epoch, n);
            for (int i = 0; i < n; i++) counts[i, p.Map(i)]++;
        }

        // Rows and columns of the table have fixed sums, which leaves (n - 1)^2 degrees of freedom.
        AssertUniform(counts.Cast<int>(), Epochs / (double)n, (n - 1.0) * (n - 1));
    }

    [Fact]
    public void Map_Neighbours_AreIndependent()
    {
        // Pairs (Map(0), Map(1)) over 16 elements: all 240 ordered pairs equally likely.
        var counts = new int[16, 16];
        for (int t = 0; t < 24_000; t++)
        {
            var p = new KeyedPermutation((ulong)t, "split", 0, 16);
            counts[p.Map(0), p.Map(1)]++;
        }

        AssertUniform(counts.Cast<int>().Where((_, i) => i % 17 != 0), 100, 239);
    }

    private static void AssertBijection(int n, ulong seed)
    {
        var p = new KeyedPermutation(seed, "shuffle", 1, n);
        var seen = new bool[n];
        for (int i = 0; i < n; i++)
        {
            long x = p.Map(i);
            Assert.InRange(x, 0, n - 1);
            Assert.False(seen[x], $"n {n}: {x} comes twice");
            seen[x] = true;
            Assert.Equal(i, p.Inverse(x));
        }
    }

    // Chi-square within five standard deviations of its mean: with fixed keys this can't flicker.
    private static void AssertUniform(IEnumerable<int> counts, double expected, double freedom)
    {
        double chiSquare = counts.Sum(c => (c - expected) * (c - expected) / expected);
        Assert.InRange(chiSquare, freedom - 5 * Math.Sqrt(2 * freedom), freedom + 5 * Math.Sqrt(2 * freedom));
    }
}
