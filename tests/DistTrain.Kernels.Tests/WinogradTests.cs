namespace DistTrain.Kernels.Tests;

/// <summary>What minimal filtering is worth as arithmetic; <see cref="ConvolutionTests"/> hold its bits.</summary>
public unsafe class WinogradTests
{
    [Fact]
    public void Passes_AgainstDoubleSums_StayWithinAFewRoundings()
    {
        var s = ConvolutionShape.Square(8, 9, 48, 32, 3, padding: 1);
        Assert.True(Winograd.Applies(s));
        float[] x = TestData.Random((int)(2 * s.InputLength), 1), w = TestData.Random((int)s.WeightLength, 2), dy = TestData.Random((int)(2 * s.OutputLength), 3);
        float[] y = new float[dy.Length], dx = new float[x.Length], dw = new float[w.Length];
        float[] packed = new float[Winograd.PackedLength(s)];
        fixed (float* px = x, pw = w, pdy = dy, py = y, pdx = dx, pdw = dw, pp = packed)
        {
            Convolution.PackForward(s, pw, pp);
            Convolution.Forward(s, 2, px, pp, py);
            Convolution.PackData(s, pw, pp);
            Convolution.DataGradient(s, 2, pdy, pp, pdx);
            Convolution.WeightGradient(s, pdy, px, [new KRange(0, 1), new KRange(1, 1)], [0, 1, 2], pdw);
        }
        double[] y64 = new double[y.Length], dx64 = new double[dx.Length], dw64 = new double[dw.Length];
        for (int n = 0; n < 2; n++)
            for (int oy = 0; oy < 8; oy++)
                for (int ox = 0; ox < 9; ox++)
                    for (int ky = 0; ky < 3; ky++)
                        for (int kx = 0; kx < 3; kx++)
                        {
                            int iy = oy + ky - 1, ix = ox + kx - 1;
                            if (iy is < 0 or > 7 || ix is < 0 or > 8) continue;
                            for (int o = 0; o < 32; o++)
                                for (int c = 0; c < 48; c++)
                                {
                                    int at = (((((n * 8) + iy) * 9) + ix) * 48) + c, to = (((((n * 8) + oy) * 9) + ox) * 32) + o, tap = (((((o * 48) + c) * 3) + ky) * 3) + kx;
                                    y64[to] += (double)x[at] * w[tap];
                                    dx64[at] += (double)dy[to] * w[tap];
                                    dw64[tap] += (double)dy[to] * x[at];
                                }
                        }
        // Values reach 4: sums of some hundred products of 5 on average; 2^-24 of what passes through is about 1e-4.
        Near(y64, y, "y");
        Near(dx64, dx, "dx");
        Near(dw64, dw, "dw");
    }

    [Theory]
    [InlineData(1, 32, 28, 1, 3, false)]
    [InlineData(32, 40, 28, 1, 3, false)]
    [InlineData(32, 32, 28, 2, 3, false)]
    [InlineData(32, 32, 28, 1, 5, false)]
    [InlineData(32, 32, 7, 1, 3, false)]
    [InlineData(256, 32, 28, 1, 3, false)]
    [InlineData(16, 32, 28, 1, 3, false)]
    [InlineData(32, 64, 14, 1, 3, true)]
    [InlineData(128, 128, 8, 1, 3, true)]
    public void Applies_FollowsFromTheShape(int channels, int outputs, int side, int stride, int kernel, bool expected) =>
        Assert.Equal(expected, Winograd.Applies(ConvolutionShape.Square(side, side, channels, outputs, kernel, stride, kernel / 2)));

    private static void Near(double[] expected, float[] actual, string what)
    {
        double worst = expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max();
        Assert.True(worst < 1e-3, $"{what} is off by {worst}.");
    }
}
