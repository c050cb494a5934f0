namespace DistTrain.Kernels.Tests;

public unsafe class AccuracyTests
{
    private delegate void Kernel(float* x, float* y, nint length);

    // A prime step through all 2^32 floats, plus whatever surrounds the places where the formulas change.
    private const uint Step = 8_191;

    [Fact]
    public void Exp_WholeRange_WithinTwoUlp() => Check((x, y, n) => Elementwise.Exp(x, y, n), Math.Exp);

    [Fact]
    public void Log_WholeRange_WithinTwoUlp() => Check((x, y, n) => Elementwise.Log(x, y, n), Math.Log);

    [Fact]
    public void Tanh_WholeRange_WithinTwoUlp() => Check((x, y, n) => Elementwise.Tanh(x, y, n), Math.Tanh);

    [Fact]
    public void Sigmoid_WholeRange_WithinTwoUlp() => Check((x, y, n) => Elementwise.Sigmoid(x, y, n), x => 1 / (1 + Math.Exp(-x)));

    [Fact]
    public void Erf_WholeRange_WithinTwoUlp() => Check((x, y, n) => Activations.Erf(x, y, n), Oracle.Erf);

    [Fact]
    public void Gelu_WholeRange_WithinTwoUlp() => Check((x, y, n) => Activations.Gelu(x, y, n), Oracle.Gelu);

    [Fact]
    public void Silu_WholeRange_WithinTwoUlp() =>
        Check((x, y, n) => Activations.Silu(x, y, n), x => double.IsNegativeInfinity(x) ? 0 : x / (1 + Math.Exp(-x)));

    [Fact]
    public void Softplus_WholeRange_WithinTwoUlp() =>
        Check((x, y, n) => Activations.Softplus(x, y, n), x => Math.Max(x, 0) + Oracle.Log1p(Math.Exp(-Math.Abs(x))));

    [Fact]
    public void Expm1_WholeRange_WithinTwoUlp() => Check((x, y, n) => Activations.Expm1(x, y, n), Oracle.Expm1);

    [Fact]
    public void Log1p_WholeRange_WithinTwoUlp() => Check((x, y, n) => Activations.Log1p(x, y, n), Oracle.Log1p);

    [Fact]
    public void OddFunctions_NegativeZero_KeepTheSign()
    {
        foreach (Kernel kernel in (Kernel[])[
            (x, y, n) => Elementwise.Tanh(x, y, n), (x, y, n) => Activations.Erf(x, y, n), (x, y, n) => Activations.Expm1(x, y, n),
            (x, y, n) => Activations.Log1p(x, y, n), (x, y, n) => Activations.Gelu(x, y, n), (x, y, n) => Activations.Silu(x, y, n)])
        {
            float x = -0f;
            kernel(&x, &x, 1);
            Assert.True(x == 0 && float.IsNegative(x));
        }
    }

    private static void Check(Kernel kernel, Func<double, double> exact)
    {
        var inputs = new List<float>((int)(uint.MaxValue / Step) + 300_000);
        for (ulong bits = 0; bits <= uint.MaxValue; bits += Step) inputs.Add(BitConverter.UInt32BitsToSingle((uint)bits));
        float[] places = [0f, -0f, 0.625f, -0.625f, 1f, 0.70710678f, 1.41421356f, 88.7228f, -87.3365f, -103.97f, 9.01f, 1.17549435e-38f, 0.34657f, -2.72986f, -16.674f, -1.42f, 3.92f];
        foreach (float place in places)
            for (int offset = -5_000; offset <= 5_000; offset++)
                inputs.Add(BitConverter.Int32BitsToSingle(BitConverter.SingleToInt32Bits(place) + offset));
        inputs.AddRange([float.PositiveInfinity, float.NegativeInfinity, float.NaN, float.MaxValue, float.MinValue, float.Epsilon]);

        using var x = new NativeBuffer(inputs.Count);
        using var y = new NativeBuffer(inputs.Count);
        inputs.CopyTo(x.Span);
        kernel(x.Pointer, y.Pointer, inputs.Count);
        double worst = 0;
        float at = 0;
        for (int i = 0; i < inputs.Count; i++)
        {
            double error = TestData.UlpError(y.Pointer[i], exact(inputs[i]));
            if (error > worst) (worst, at) = (error, inputs[i]);
        }
        Assert.True(worst <= 2, $"{worst:F3} ulp at {at:G9}");
    }
}
