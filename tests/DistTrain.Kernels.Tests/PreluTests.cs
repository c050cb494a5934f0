using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class PreluTests
{
    public static TheoryData<int, int, string> Cases => new()
    {
        { 1, 40, "3 4" }, { 5, 1, "2 3 1" }, { 33, 1, "1 1 1 0 2" }, { 3, 17, "2+1 3" }, { 4, 64, "5" }, { 16, 2, "1 2 3" },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Prelu_LevelsAndThreads_EqualsReference(int channels, int inner, string leaves)
    {
        var (ranges, starts, rows) = LeafLists.Parse(leaves);
        int size = rows * channels * inner;
        using BoundedMemory x = Bounded(TestData.Awkward(size, 1)), dy = Bounded(TestData.Random(size, 2)), slopes = Bounded(TestData.Random(channels, 3));
        using BoundedMemory y = new(size), dx = new(size), ds = new(channels);
        float[] xs = x.Span.ToArray(), dys = dy.Span.ToArray(), a = slopes.Span.ToArray();
        float[] expectedY = [.. xs.Select((v, i) => ReferenceFunctions.LeakyRelu(a[i / inner % channels], v))];
        float[] expectedDX = [.. xs.Select((v, i) => ReferenceFunctions.LeakyReluBackward(a[i / inner % channels], dys[i], v))];
        float[] expectedDS = [.. Enumerable.Range(0, channels).Select(c => ReferencePrelu.SlopeGradient(dys, xs, channels, inner, c, ranges, starts))];
        using var pool = new KernelPool(2);
        foreach (SimdLevel level in TestData.Levels)
        {
            using var forced = SimdPath.Force(level);
            Prelu.Forward(x.Pointer, slopes.Pointer, rows, channels, inner, y.Pointer, pool);
            Prelu.InputGradient(dy.Pointer, x.Pointer, slopes.Pointer, rows, channels, inner, dx.Pointer, pool);
            Prelu.SlopeGradient(dy.Pointer, x.Pointer, channels, inner, ranges, starts, ds.Pointer, pool);
            TestData.AssertSameBits(expectedY, y.Span, $"forward at {level}");
            TestData.AssertSameBits(expectedDX, dx.Span, $"input gradient at {level}");
            TestData.AssertSameBits(expectedDS, ds.Span, $"slope gradient at {level}");
        }
    }

    // A product too small for any float leaves the sign of its zero behind, also in lanes that the row's end doesn't reach.
    [Fact]
    public void SlopeGradient_ProductsThatUnderflow_HasTheReferencesZeros()
    {
        const int Channels = 2, Inner = 21, Rows = 3;
        float[] x = [.. Enumerable.Repeat(-1e-30f, Rows * Channels * Inner)], dy = [.. Enumerable.Repeat(1e-30f, x.Length)], ds = new float[Channels];
        KRange[] ranges = [new(0, 2), new(2, 1)];
        int[] starts = [0, 1, 2];
        float[] expected = [.. Enumerable.Range(0, Channels).Select(c => ReferencePrelu.SlopeGradient(dy, x, Channels, Inner, c, ranges, starts))];
        Assert.Equal(int.MinValue, BitConverter.SingleToInt32Bits(expected[0]));
        foreach (SimdLevel level in TestData.Levels)
        {
            using var forced = SimdPath.Force(level);
            fixed (float* px = x, pdy = dy, pds = ds) Prelu.SlopeGradient(pdy, px, Channels, Inner, ranges, starts, pds);
            TestData.AssertSameBits(expected, ds, $"underflow at {level}");
        }
    }

    [Fact]
    public void SlopeGradient_CentralDifferences_Agree()
    {
        const int Rows = 4, Channels = 3, Inner = 5;
        float[] x = TestData.Random(Rows * Channels * Inner, 1), dy = TestData.Random(x.Length, 2), gradient = new float[Channels];
        fixed (float* px = x, pdy = dy, pg = gradient) Prelu.SlopeGradient(pdy, px, Channels, Inner, [new KRange(0, 1), new KRange(1, 3)], [0, 1, 2], pg);
        for (int c = 0; c < Channels; c++)
        {
            double Loss(double slope) => x.Select((v, i) => i / Inner % Channels == c ? (double)dy[i] * (v > 0 ? v : slope * v) : 0).Sum();
            Assert.Equal((Loss(0.25 + 1e-3) - Loss(0.25 - 1e-3)) / 2e-3, gradient[c], 1e-3);
        }
    }

    private static BoundedMemory Bounded(float[] values)
    {
        var memory = new BoundedMemory(values.Length);
        values.CopyTo(memory.Span);
        return memory;
    }
}
