namespace DistTrain.Kernels.Tests;

public class ScalarMathTests
{
    [Fact]
    public void ExpAndLog_WideRange_AgreeWithTheCLibrary()
    {
        for (double x = -700; x < 700; x += 0.3713) Near(Math.Exp(x), ScalarMath.Exp(x));
        for (double x = 1e-300; x < 1e300; x *= 1.73) Near(Math.Log(x), ScalarMath.Log(x));
        for (double x = 0.5; x < 2; x += 0.00137) Near(Math.Log(x), ScalarMath.Log(x));
        Near(Math.Log(5e-320), ScalarMath.Log(5e-320));
    }

    [Fact]
    public void CosAndSin_ManyTurns_AgreeWithTheCLibrary()
    {
        for (double x = -1000; x < 1000; x += 0.0917)
        {
            Assert.Equal(Math.Cos(x), ScalarMath.Cos(x), 4e-16);
            Assert.Equal(Math.Sin(x), ScalarMath.Sin(x), 4e-16);
        }
        Assert.Equal(1, ScalarMath.Cos(0));
        Assert.Equal(0, ScalarMath.Sin(0));
    }

    [Fact]
    public void Edges_AsIeeeSays()
    {
        Assert.Equal(double.PositiveInfinity, ScalarMath.Exp(1000));
        Assert.Equal(0, ScalarMath.Exp(-1000));
        Assert.Equal(1, ScalarMath.Exp(0));
        Assert.Equal(double.NegativeInfinity, ScalarMath.Log(0));
        Assert.True(double.IsNaN(ScalarMath.Log(-1)));
        Assert.True(double.IsNaN(ScalarMath.Exp(double.NaN)));
        Assert.True(double.IsNaN(ScalarMath.Cos(double.PositiveInfinity)));
    }

    [Fact]
    public void Pow_WholeAndBroken_AgreeWithTheCLibrary()
    {
        for (long n = -20; n <= 2000; n += 7) Assert.Equal(1, ScalarMath.Pow(0.999, n) / Math.Pow(0.999, n), 1e-12);
        Assert.Equal(1024, ScalarMath.Pow(2, 10L));
        Assert.Equal(0.125, ScalarMath.Pow(2, -3L));
        Assert.Equal(1, ScalarMath.Pow(2.5, 0.7) / Math.Pow(2.5, 0.7), 1e-14);
    }

    private static void Near(double expected, double actual) =>
        Assert.True(Math.Abs(actual - expected) <= 4 * Math.Max(Math.BitIncrement(Math.Abs(expected)) - Math.Abs(expected), double.Epsilon), $"{expected:R} {actual:R}");
}
