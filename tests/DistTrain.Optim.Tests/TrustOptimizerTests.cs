using DistTrain.Kernels;

namespace DistTrain.Optim.Tests;

/// <summary>LARS and LAMB over several steps of a tensor, against their papers' formulas in double.</summary>
public sealed unsafe class TrustOptimizerTests
{
    private const int Length = 5000;
    private const int Steps = 6;
    private const double Total = 13;

    [Theory]
    [InlineData(0)]
    [InlineData(0.05)]
    public void Lars_SeveralSteps_FollowsThePaper(double decay)
    {
        var spec = new LarsSpec(0.5, 0.8, decay, 0.02);
        double[] w = [.. Enumerable.Range(0, Length).Select(i => (double)Weight(i))], v = new double[Length];
        for (int step = 1; step <= Steps; step++)
        {
            double[] g = [.. Enumerable.Range(0, Length).Select(i => GradientSum(i, step) / Total)];
            double trust = 0.02 * Norm(w) / (Norm(g) + (decay * Norm(w)) + 1e-8);
            for (int i = 0; i < Length; i++)
            {
                v[i] = (0.8 * v[i]) + (0.5 * trust * (g[i] + (decay * w[i])));
                w[i] -= v[i];
            }
        }

        AssertClose(w, Run(spec, [0, Length]));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0.05)]
    public void Lamb_SeveralSteps_FollowsThePaper(double decay)
    {
        var spec = new LambSpec(0.02, 0.8, 0.95, 1e-6, decay);
        double[] w = [.. Enumerable.Range(0, Length).Select(i => (double)Weight(i))], m = new double[Length], s = new double[Length], r = new double[Length];
        for (int step = 1; step <= Steps; step++)
        {
            for (int i = 0; i < Length; i++)
            {
                double g = GradientSum(i, step) / Total;
                m[i] = (0.8 * m[i]) + (0.2 * g);
                s[i] = (0.95 * s[i]) + (0.05 * g * g);
                r[i] = (m[i] / (1 - Math.Pow(0.8, step)) / (Math.Sqrt(s[i] / (1 - Math.Pow(0.95, step))) + 1e-6)) + (decay * w[i]);
            }

            double trust = Norm(w) / Norm(r);
            for (int i = 0; i < Length; i++) w[i] -= 0.02 * trust * r[i];
        }

        AssertClose(w, Run(spec, [0, Length]));
    }

    [Fact]
    public void Update_AnyRanges_SameBits()
    {
        foreach (OptimizerSpec spec in (OptimizerSpec[])[new LarsSpec(0.5, WeightDecay: 0.01), new LambSpec()])
        {
            Assert.Equal(Run(spec, [0, Length]), Run(spec, [0, 16, 4096, 4112, Length]));
        }
    }

    [Fact]
    public void Trust_OfATensorWithoutNorm_IsOne()
    {
        var context = new UpdateContext(1, 8, 0.1);
        foreach (OptimizerSpec spec in (OptimizerSpec[])[new LarsSpec(), new LambSpec()])
        {
            var optimizer = (ITrustOptimizer)spec.Create();
            Assert.Equal(1, optimizer.Trust(context, 0, 5));
            Assert.Equal(1, optimizer.Trust(context, 5, 0));
        }
    }

    private static float Weight(int i) => (float)Math.Sin(i * 0.7) * 2;

    private static float GradientSum(int i, int step) => (float)(Math.Cos((i * 1.3) + step) * Total * (1 + (i % 7)));

    private static double Norm(double[] x) => Math.Sqrt(x.Sum(v => v * v));

    private static void AssertClose(double[] expected, float[] actual)
    {
        for (int i = 0; i < expected.Length; i++) Assert.Equal(expected[i], actual[i], 1e-5);
    }

    private static float[] Run(OptimizerSpec spec, int[] edges)
    {
        var optimizer = (ITrustOptimizer)spec.Create();
        using var weights = new NativeBuffer(Length);
        using var gradient = new NativeBuffer(Length);
        using var direction = new NativeBuffer(Length);
        NativeBuffer[] state = [.. spec.StateVectors.Select(_ => new NativeBuffer(Length))];
        for (int i = 0; i < Length; i++) weights.Pointer[i] = Weight(i);
        nint[] StateAt(int at) => [.. state.Select(s => (nint)(s.Pointer + at))];
        float* values = optimizer.TakesDirection ? direction.Pointer : gradient.Pointer;
        for (int step = 1; step <= Steps; step++)
        {
            for (int i = 0; i < Length; i++) gradient.Pointer[i] = GradientSum(i, step);
            var context = new UpdateContext(step, Total, spec.LearningRate);
            for (int e = edges.Length - 1; e > 0; e--)
            {
                int at = edges[e - 1];
                optimizer.Prepare(context, weights.Pointer + at, gradient.Pointer + at, StateAt(at), direction.Pointer + at, edges[e] - at, KernelPool.Single);
            }

            context = context with { Trust = optimizer.Trust(context, Squares(weights.Pointer), Squares(values)) };
            for (int e = edges.Length - 1; e > 0; e--)
            {
                int at = edges[e - 1];
                optimizer.Update(context, weights.Pointer + at, values + at, StateAt(at), edges[e] - at, KernelPool.Single);
            }
        }

        foreach (NativeBuffer buffer in state) buffer.Dispose();
        return weights.Span.ToArray();
    }

    private static double Squares(float* x)
    {
        var blocks = new float[BlockNorms.Blocks(Length)];
        fixed (float* b = blocks) BlockNorms.SumsOfSquares(x, FloatFormat.Float32, Length, b);
        return BlockNorms.Tensor(blocks);
    }
}
