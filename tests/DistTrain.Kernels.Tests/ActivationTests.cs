using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class ActivationTests
{
    private delegate void Unary(float* x, float* y, nint length);

    private delegate void Binary(float* x, float* y, float* z, nint length);

    private static readonly (string Name, Unary Kernel, Func<float, float> Reference)[] Unaries =
    [
        ("leaky relu", (x, y, n) => Activations.LeakyRelu(0.1f, x, y, n), x => ReferenceFunctions.LeakyRelu(0.1f, x)),
        ("elu", (x, y, n) => Activations.Elu(1.3f, x, y, n), x => ReferenceFunctions.Elu(1.3f, x)),
        ("gelu", (x, y, n) => Activations.Gelu(x, y, n), ReferenceFunctions.Gelu),
        ("gelu tanh", (x, y, n) => Activations.GeluTanh(x, y, n), ReferenceFunctions.GeluTanh),
        ("silu", (x, y, n) => Activations.Silu(x, y, n), ReferenceFunctions.Silu),
        ("softplus", (x, y, n) => Activations.Softplus(x, y, n), ReferenceFunctions.Softplus),
        ("erf", (x, y, n) => Activations.Erf(x, y, n), ReferenceFunctions.Erf),
        ("expm1", (x, y, n) => Activations.Expm1(x, y, n), ReferenceFunctions.Expm1),
        ("log1p", (x, y, n) => Activations.Log1p(x, y, n), ReferenceFunctions.Log1p),
        ("reciprocal", (x, y, n) => Activations.Reciprocal(x, y, n), x => 1f / x),
    ];

    private static readonly (string Name, Binary Kernel, Func<float, float, float> Reference)[] Binaries =
    [
        ("leaky relu", (g, v, z, n) => Activations.LeakyReluBackward(0.1f, g, v, z, n), (g, v) => ReferenceFunctions.LeakyReluBackward(0.1f, g, v)),
        ("elu", (g, v, z, n) => Activations.EluBackward(1.3f, g, v, z, n), (g, v) => ReferenceFunctions.EluBackward(1.3f, g, v)),
        ("gelu", (g, v, z, n) => Activations.GeluBackward(g, v, z, n), (g, v) => g * ReferenceFunctions.GeluDerivative(v)),
        ("gelu tanh", (g, v, z, n) => Activations.GeluTanhBackward(g, v, z, n), (g, v) => g * ReferenceFunctions.GeluTanhDerivative(v)),
        ("silu", (g, v, z, n) => Activations.SiluBackward(g, v, z, n), (g, v) => g * ReferenceFunctions.SiluDerivative(v)),
        ("softplus", (g, v, z, n) => Activations.SoftplusBackward(g, v, z, n), (g, v) => g * ReferenceFunctions.Sigmoid(v)),
    ];

    /// <summary>The forward functions in double, for inputs that are finite, and from what their backward derives.</summary>
    private static readonly (string Name, Func<double, double> Function, bool FromOutput)[] Formulas =
    [
        ("leaky relu", x => x > 0 ? x : 0.1 * x, false), ("elu", x => x > 0 ? x : 1.3 * (Math.Exp(x) - 1), true), ("gelu", Oracle.Gelu, false),
        ("gelu tanh", x => x / (1 + Math.Exp(-2 * Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x)))), false),
        ("silu", x => x / (1 + Math.Exp(-x)), false), ("softplus", x => Math.Log(1 + Math.Exp(x)), false),
    ];

    [Fact]
    public void Unary_AllLengthsAndLevelsAtAPageEnd_EqualsReference()
    {
        for (int length = 0; length <= 256; length++)
        {
            using var x = new BoundedMemory(length);
            using var y = new BoundedMemory(length);
            float[] input = TestData.Awkward(length, length);
            input.CopyTo(x.Span);
            foreach (var (name, kernel, reference) in Unaries)
            {
                float[] expected = [.. input.Select(reference)];
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    y.Span.Fill(7);
                    kernel(x.Pointer, y.Pointer, length);
                    TestData.AssertSameBits(expected, y.Span, $"{name} at {level}");
                }
            }
        }
    }

    [Fact]
    public void Unary_DenseSampleOfAllFloats_EqualsReference()
    {
        const int Length = 1 << 16;
        using var x = new NativeBuffer(Length);
        using var y = new NativeBuffer(Length);
        for (int i = 0; i < Length; i++) x.Pointer[i] = BitConverter.Int32BitsToSingle(unchecked(i * 65_537));
        foreach (var (name, kernel, reference) in Unaries)
        {
            float[] expected = [.. x.Span.ToArray().Select(reference)];
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                kernel(x.Pointer, y.Pointer, Length);
                TestData.AssertSameBits(expected, y.Span, $"{name} at {level}");
            }
        }
    }

    [Fact]
    public void Backward_LengthsAndLevelsAtAPageEnd_EqualsReference()
    {
        foreach (int length in (int[])[0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 255])
        {
            using var g = new BoundedMemory(length);
            using var v = new BoundedMemory(length);
            using var z = new BoundedMemory(length);
            float[] left = TestData.Awkward(length, length), right = TestData.Awkward(length, length + 3);
            left.CopyTo(g.Span);
            right.CopyTo(v.Span);
            foreach (var (name, kernel, reference) in Binaries)
            {
                float[] expected = [.. left.Zip(right, reference)];
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    kernel(g.Pointer, v.Pointer, z.Pointer, length);
                    TestData.AssertSameBits(expected, z.Span, $"{name} backward at {level}");
                }
            }
        }
    }

    [Fact]
    public void Backward_CentralDifferences_Agree()
    {
        foreach (var (name, function, fromOutput) in Formulas)
        {
            Binary kernel = Binaries.Single(b => string.Equals(b.Name, name, StringComparison.Ordinal)).Kernel;
            for (float x = -9.97f; x < 10; x += 0.0717f)
            {
                float g = 1.7f, v = fromOutput ? (float)function(x) : x, actual;
                kernel(&g, &v, &actual, 1);
                double slope = (function(x + 1e-5) - function(x - 1e-5)) / 2e-5;
                Assert.True(Math.Abs(actual - (g * slope)) < 2e-6, $"{name}'({x:G9}) is {actual / g:G9}, should be {slope:G9}");
            }
        }
    }

    [Theory]
    [InlineData(float.NegativeInfinity)]
    [InlineData(float.PositiveInfinity)]
    public void Function_AtInfinity_GivesItsLimit(float x)
    {
        float y, g = 1;
        Activations.Gelu(&x, &y, 1);
        Assert.Equal(x < 0 ? -0f : x, y);
        Activations.GeluTanh(&x, &y, 1);
        Assert.Equal(x < 0 ? -0f : x, y);
        Activations.Silu(&x, &y, 1);
        Assert.Equal(x < 0 ? -0f : x, y);
        Activations.Softplus(&x, &y, 1);
        Assert.Equal(x < 0 ? 0f : x, y);
        foreach (Binary backward in (Binary[])[
            (a, b, c, n) => Activations.GeluBackward(a, b, c, n), (a, b, c, n) => Activations.GeluTanhBackward(a, b, c, n),
            (a, b, c, n) => Activations.SiluBackward(a, b, c, n), (a, b, c, n) => Activations.SoftplusBackward(a, b, c, n)])
        {
            backward(&g, &x, &y, 1);
            Assert.Equal(x < 0 ? 0f : 1f, y);
        }
    }
}
