using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class UpdateTests
{
    [Theory]
    [InlineData(0.1, 0, 0, false)]
    [InlineData(0.1, 0.9, 0, false)]
    [InlineData(0.05, 0.9, 1e-2, true)]
    [InlineData(0.05, 0, 1e-2, false)]
    public void Sgd_LengthsLevelsAndThreads_EqualsReference(double rate, double momentum, double decay, bool nesterov)
    {
        var step = new SgdStep(rate, momentum, decay, nesterov);
        using var pool = new KernelPool(3);
        foreach (int length in (int[])[0, 1, 15, 16, 17, 100, 255, 70_003])
        {
            float[] w = TestData.Random(length, 1), v = TestData.Random(length, 2), g = TestData.Random(length, 3);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var bw = Bounded(w);
                using var bv = Bounded(v);
                using var bg = Bounded(g);
                using (SimdPath.Force(level))
                {
                    SgdKernel.Update(step, bw.Pointer, momentum == 0 ? null : bv.Pointer, bg.Pointer, 37, length, pool);
                }
                float[] w2 = [.. w], v2 = [.. v];
                for (int i = 0; i < length; i++) ReferenceUpdates.Sgd(step, ref w2[i], ref v2[i], g[i], 37);
                TestData.AssertSameBits(w2, bw.Span, $"weights at {level}");
                TestData.AssertSameBits(v2, bv.Span, $"momentum at {level}");
            }
        }
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(0.01, false)]
    [InlineData(0.01, true)]
    public void Adam_LengthsLevelsAndThreads_EqualsReference(double decay, bool decoupled)
    {
        var step = new AdamStep(1e-3, 0.9, 0.999, 1e-8, decay, 1 - ScalarMath.Pow(0.9, 3L), 1 - ScalarMath.Pow(0.999, 3L), decoupled);
        using var pool = new KernelPool(2);
        foreach (int length in (int[])[1, 16, 31, 257, 70_003])
        {
            float[] w = TestData.Random(length, 1), m = TestData.Random(length, 2), v = [.. TestData.Random(length, 4).Select(MathF.Abs)];
            float[] g = TestData.Random(length, 3);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var bw = Bounded(w);
                using var bm = Bounded(m);
                using var bv = Bounded(v);
                using var bg = Bounded(g);
                using (SimdPath.Force(level)) AdamKernel.Update(step, bw.Pointer, bm.Pointer, bv.Pointer, bg.Pointer, 128, length, pool);
                float[] w2 = [.. w], m2 = [.. m], v2 = [.. v];
                for (int i = 0; i < length; i++) ReferenceUpdates.Adam(step, ref w2[i], ref m2[i], ref v2[i], g[i], 128);
                TestData.AssertSameBits(w2, bw.Span, $"weights at {level}");
                TestData.AssertSameBits(m2, bm.Span, $"first moment at {level}");
                TestData.AssertSameBits(v2, bv.Span, $"second moment at {level}");
            }
        }
    }

    [Fact]
    public void Adam_FirstStep_MovesByTheLearningRate()
    {
        float w = 1, m = 0, v = 0, g = 8;
        AdamKernel.Update(new AdamStep(0.01, 0.9, 0.999, 1e-8, 0, 0.1, 0.001, false), &w, &m, &v, &g, 4, 1);
        Assert.Equal(0.99f, w, 1e-6f);
    }

    [Fact]
    public void Sgd_StateOverlapsWeights_Throws()
    {
        using var x = new NativeBuffer(64);
        Assert.Throws<ArgumentException>(() => SgdKernel.Update(new SgdStep(0.1, 0.9), x.Pointer, x.Pointer + 8, x.Pointer + 32, 1, 16));
    }

    private static BoundedMemory Bounded(float[] values)
    {
        var memory = new BoundedMemory(values.Length);
        values.CopyTo(memory.Span);
        return memory;
    }
}
