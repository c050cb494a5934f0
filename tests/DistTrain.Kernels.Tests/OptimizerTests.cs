using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class OptimizerTests
{
    private delegate void Kernel(float* w, float* s1, float* s2, float* s3, in SummedGradient gradient, int length, KernelPool? pool);

    private delegate void Rule(ref float w, ref float s1, ref float s2, ref float s3, float gradientSum, float total);

    private static readonly AdamStep Adam = new(1e-3, 0.9, 0.999, 1e-8, 0.01, 1 - ScalarMath.Pow(0.9, 3L), 1 - ScalarMath.Pow(0.999, 3L), true);

    private static readonly (string Name, Kernel Kernel, Rule Rule)[] All =
    [
        ("sgd", (float* w, float* a, float* b, float* c, in SummedGradient g, int n, KernelPool? p) => SgdKernel.Update(new SgdStep(0.1, 0.9, 0.01, true), w, a, in g, n, p),
            (ref float w, ref float a, ref float b, ref float c, float g, float t) => ReferenceUpdates.Sgd(new SgdStep(0.1, 0.9, 0.01, true), ref w, ref a, g, t)),
        ("adamw", (float* w, float* a, float* b, float* c, in SummedGradient g, int n, KernelPool? p) => AdamKernel.Update(Adam, w, a, b, in g, n, p),
            (ref float w, ref float a, ref float b, ref float c, float g, float t) => ReferenceUpdates.Adam(Adam, ref w, ref a, ref b, g, t)),
        .. from momentum in new[] { 0, 0.8 } from centered in new[] { false, true } select Rms(new RmsPropStep(0.01, 0.9, 1e-6, momentum, 0.02, centered)),
        Rms(new RmsPropStep(0.01)),
        ("adagrad", (float* w, float* a, float* b, float* c, in SummedGradient g, int n, KernelPool? p) => AdagradKernel.Update(new AdagradStep(0.1, 1e-10, 0.01), w, a, in g, n, p),
            (ref float w, ref float a, ref float b, ref float c, float g, float t) => ReferenceUpdates.Adagrad(new AdagradStep(0.1, 1e-10, 0.01), ref w, ref a, g, t)),
        ("lion", (float* w, float* a, float* b, float* c, in SummedGradient g, int n, KernelPool? p) => LionKernel.Update(new LionStep(1e-3, WeightDecay: 0.1), w, a, in g, n, p),
            (ref float w, ref float a, ref float b, ref float c, float g, float t) => ReferenceUpdates.Lion(new LionStep(1e-3, WeightDecay: 0.1), ref w, ref a, g, t)),
        ("lars", (float* w, float* a, float* b, float* c, in SummedGradient g, int n, KernelPool? p) => LarsKernel.Update(new LarsStep(0.1, 0.9, 1e-3), 0.37, w, a, in g, n, p),
            (ref float w, ref float a, ref float b, ref float c, float g, float t) => ReferenceUpdates.Lars(new LarsStep(0.1, 0.9, 1e-3), 0.37, ref w, ref a, g, t)),
        ("lamb direction", (float* w, float* a, float* b, float* c, in SummedGradient g, int n, KernelPool? p) => LambKernel.Direction(Adam, w, a, b, c, in g, n, p),
            (ref float w, ref float a, ref float b, ref float c, float g, float t) => c = ReferenceUpdates.LambDirection(Adam, w, ref a, ref b, g, t)),
    ];

    [Theory]
    [InlineData(37f)]
    [InlineData(128f)]
    public void Update_RulesLengthsFormatsAndLevels_EqualsReference(float total)
    {
        using var pool = new KernelPool(2);
        foreach (var (name, kernel, rule) in All)
        {
            foreach (int length in (int[])[0, 1, 16, 31, 257, 40_003])
            {
                foreach (FloatFormat format in Enum.GetValues<FloatFormat>())
                {
                    if (length > 1_000 && format != FloatFormat.BFloat16) continue;
                    float scale = format == FloatFormat.Float16 ? 0.7f : 1;
                    float[] g = TestData.Random(length, 3);
                    if (length > 0) g[0] = 0;
                    float[][] start = [TestData.Random(length, 1), Positive(length, 2), Positive(length, 4), TestData.Random(length, 5)];
                    float[][] expected = [.. start.Select(s => (float[])s.Clone())];
                    for (int i = 0; i < length; i++)
                    {
                        float sum = ReferenceFormats.Round(g[i], format);
                        // The scale comes after the division: undo the reference's own.
                        if (scale == 1) rule(ref expected[0][i], ref expected[1][i], ref expected[2][i], ref expected[3][i], sum, total);
                        else rule(ref expected[0][i], ref expected[1][i], ref expected[2][i], ref expected[3][i], sum / total * scale, 1);
                    }
                    foreach (SimdLevel level in TestData.Levels)
                    {
                        using var forced = SimdPath.Force(level);
                        BoundedMemory[] memory = [.. start.Select(Bounded)];
                        using var narrow = new BoundedMemory(((length * format.Size()) + 3) / 4);
                        byte* values = (byte*)narrow.Pointer + (narrow.Length * 4) - (length * format.Size());
                        fixed (float* pg = g) Precisions.FromFloat32(pg, values, format, length);
                        kernel(memory[0].Pointer, memory[1].Pointer, memory[2].Pointer, memory[3].Pointer, new SummedGradient(values, total, format, scale), length, pool);
                        for (int s = 0; s < 4; s++) TestData.AssertSameBits(expected[s], memory[s].Span, $"{name}, {format} at {level}: array {s}");
                        foreach (BoundedMemory m in memory) m.Dispose();
                    }
                }
            }
        }
    }

    // From PyTorch 1.13: three steps of torch.optim on one weight of 1 with gradients 0.5, -0.25, 0.125.
    [Fact]
    public void Update_ThreeSteps_AgreesWithPyTorch()
    {
        Assert.Equal(0.5516115f, Steps((float* w, float* s, in SummedGradient g) => RmsPropKernel.Update(new RmsPropStep(0.1, 0.9, 1e-8, 0.5, 0.01, true), w, s, s + 1, s + 2, in g, 1)), 1e-5f);
        Assert.Equal(0.9228995f, Steps((float* w, float* s, in SummedGradient g) => AdagradKernel.Update(new AdagradStep(0.1), w, s, in g, 1)), 1e-6f);
        Assert.Equal(0.8644392f, Steps((float* w, float* s, in SummedGradient g) => SgdKernel.Update(new SgdStep(0.1, 0.9, 0.01, true), w, s, in g, 1)), 1e-6f);
    }

    [Fact]
    public void Norms_LengthsFormatsAndLevels_EqualsReference()
    {
        foreach (FloatFormat format in Enum.GetValues<FloatFormat>())
        {
            foreach (int length in (int[])[0, 1, 17, 4095, 4096, 4097, 13_000])
            {
                float[] x = TestData.Random(length, length + 1);
                float[] rounded = [.. x.Select(v => ReferenceFormats.Round(v, format))];
                float[] expected = [.. rounded.Chunk(BlockNorms.Block).Select(block => ReferenceUpdates.SumOfSquares(block))];
                using var narrow = new BoundedMemory(((length * format.Size()) + 3) / 4);
                byte* values = (byte*)narrow.Pointer + (narrow.Length * 4) - (length * format.Size());
                fixed (float* px = x) Precisions.FromFloat32(px, values, format, length);
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    using var sums = new BoundedMemory((int)BlockNorms.Blocks(length));
                    BlockNorms.SumsOfSquares(values, format, length, sums.Pointer);
                    TestData.AssertSameBits(expected, sums.Span, $"{format} at {level}");
                }
                double exact = rounded.Sum(v => (double)v * v);
                Assert.Equal(exact, BlockNorms.Tensor(expected), 1e-5 * exact);
            }
        }
    }

    [Fact]
    public void Norms_Tree_SplitsAtTheLargestPowerOfTwo()
    {
        float[] blocks = [1e8f, 1, 1, 1, 1];
        Assert.Equal((((double)1e8f + 1) + (1.0 + 1)) + 1, BlockNorms.Tensor(blocks));
        Assert.Equal(0, BlockNorms.Tensor([]));
        Assert.Equal((0.1 + 0.2) + 0.3, BlockNorms.Model([0.1, 0.2, 0.3]));
    }

    [Theory]
    [InlineData(9.0, 3.0, 0.5, 0.4999995f)]
    [InlineData(9.0, 3.0, 2, 1f)]
    [InlineData(double.PositiveInfinity, 3.0, 2, 0f)]
    [InlineData(double.NaN, 3.0, 2, float.NaN)]
    public void ClipScale_Norms_LimitsThem(double squares, double total, double limit, float expected) =>
        Assert.Equal(expected, BlockNorms.ClipScale(squares, total, limit), 1e-7f);

    [Fact]
    public void TrustRatios_ZeroNorms_AreOne()
    {
        Assert.Equal(1, LarsKernel.TrustRatio(new LarsStep(0.1), 0, 4, 2));
        Assert.Equal(1, LambKernel.TrustRatio(4, 0));
        Assert.Equal(1.5, LambKernel.TrustRatio(9, 4));
        Assert.Equal(0.01 * 3 / (2 + (0.5 * 3) + 1e-8), LarsKernel.TrustRatio(new LarsStep(0.1, 0.9, 0.5, 0.01), 9, 16, 2), 1e-12);
    }

    [Fact]
    public void Lamb_Apply_MovesAgainstTheDirection()
    {
        float w = 2, r = 4;
        LambKernel.Apply(Adam, 0.5, &w, &r, 1);
        Assert.Equal(MathF.FusedMultiplyAdd(-(float)(1e-3 * 0.5), 4, 2), w);
    }

    private delegate void OneStep(float* w, float* states, in SummedGradient gradient);

    private static float Steps(OneStep step)
    {
        float w = 1;
        float* states = stackalloc float[3];
        states[0] = states[1] = states[2] = 0;
        foreach (float gradient in (float[])[0.5f, -0.25f, 0.125f])
        {
            float g = gradient;
            step(&w, states, new SummedGradient(&g, 1));
        }
        return w;
    }

    private static (string Name, Kernel Kernel, Rule Rule) Rms(RmsPropStep step)
    {
        bool momentum = step.Momentum != 0, centered = step.Centered;
        return ($"rmsprop {step}",
            (float* w, float* a, float* b, float* c, in SummedGradient g, int n, KernelPool? p) => RmsPropKernel.Update(step, w, a, momentum ? b : null, centered ? c : null, in g, n, p),
            (ref float w, ref float a, ref float b, ref float c, float g, float t) => ReferenceUpdates.RmsProp(step, ref w, ref a, ref b, ref c, g, t));
    }

    private static float[] Positive(int length, int seed) => [.. TestData.Random(length, seed).Select(v => MathF.Abs(v) + 20)];

    private static BoundedMemory Bounded(float[] values)
    {
        var memory = new BoundedMemory(values.Length);
        values.CopyTo(memory.Span);
        return memory;
    }
}
