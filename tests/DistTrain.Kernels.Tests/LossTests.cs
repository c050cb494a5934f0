using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public sealed unsafe class LossTests
{
    private delegate void Kernel(float* x, float* t, nint rows, nint columns, float* losses, float* dx, KernelPool? pool);

    private static readonly Dictionary<string, (Kernel Run, ReferenceLosses.Element Element, Func<float, float> Target)> Cases = new()
    {
        ["half squared"] = (ElementLosses.HalfSquared, ReferenceLosses.HalfSquared, t => t),
        ["absolute"] = (ElementLosses.Absolute, ReferenceLosses.Absolute, t => t),
        ["huber"] = ((x, t, r, c, l, d, p) => ElementLosses.Huber(x, t, r, c, 0.7f, l, d, p), ReferenceLosses.Huber(0.7f), t => t),
        ["binary cross-entropy"] = (ElementLosses.BinaryCrossEntropy, ReferenceLosses.BinaryCrossEntropy, t => Math.Min(1, Math.Abs(t) / 3)),
        ["hinge"] = ((x, t, r, c, l, d, p) => ElementLosses.Hinge(x, t, r, c, 1.5f, l, d, p), ReferenceLosses.Hinge(1.5f), t => MathF.Sign(t)),
    };

    public static TheoryData<string> Names() => new(Cases.Keys);

    [Theory]
    [MemberData(nameof(Names))]
    public void ElementLoss_AllLengthsAndLevelsAtAPageEnd_EqualsReference(string name)
    {
        (Kernel run, ReferenceLosses.Element element, Func<float, float> target) = Cases[name];
        for (int columns = 1; columns <= 256; columns++)
        {
            float[] x = columns % 5 == 0 ? TestData.Awkward(columns, columns) : TestData.Random(columns, columns);
            float[] t = [.. TestData.Random(columns, columns + 1).Select(target)];
            var gradient = new float[columns];
            float[] loss = [ReferenceLosses.Row(element, x, t, gradient)];
            using var px = new BoundedMemory(columns);
            using var pt = new BoundedMemory(columns);
            using var pl = new BoundedMemory(1);
            t.CopyTo(pt.Span);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                x.CopyTo(px.Span);
                run(px.Pointer, pt.Pointer, 1, columns, pl.Pointer, px.Pointer, null);
                TestData.AssertSameBits(loss, pl.Span, $"{name} of {columns} at {level}");
                TestData.AssertSameBits(gradient, px.Span, $"{name}'s gradient of {columns} at {level}");
            }
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(10)]
    [InlineData(16)]
    [InlineData(33)]
    [InlineData(131)]
    public void DivergenceAndHinge_LevelsAndThreads_EqualReference(int classes)
    {
        const int Rows = 300;
        float[] x = TestData.Random(Rows * classes, 1), t = [.. TestData.Random(Rows * classes, 2).Select(MathF.Abs)];
        for (int i = 0; i < t.Length; i += 3) t[i] = 0;
        int[] labels = [.. Enumerable.Range(0, Rows).Select(i => i % classes)];
        float[] divergences = new float[Rows], hinges = new float[Rows], dDivergence = new float[Rows * classes], dHinge = new float[Rows * classes];
        var correct = new byte[Rows];
        for (int r = 0; r < Rows; r++)
        {
            Span<float> row = x.AsSpan(r * classes, classes);
            divergences[r] = ReferenceLosses.Divergence(row, t.AsSpan(r * classes, classes), dDivergence.AsSpan(r * classes, classes));
            hinges[r] = ReferenceLosses.MultiClassHinge(row, labels[r], 0.5f, dHinge.AsSpan(r * classes, classes));
        }
        using var pool = new KernelPool(3);
        using var logits = new BoundedMemory(Rows * classes);
        using var losses = new BoundedMemory(Rows);
        fixed (float* pt = t)
        fixed (int* l = labels)
        fixed (byte* right = correct)
        {
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                x.CopyTo(logits.Span);
                KlDivergence.Run(logits.Pointer, pt, Rows, classes, losses.Pointer, logits.Pointer, pool);
                TestData.AssertSameBits(divergences, losses.Span, $"divergence at {level}");
                TestData.AssertSameBits(dDivergence, logits.Span, $"divergence's gradient at {level}");
                x.CopyTo(logits.Span);
                MultiClassHinge.Run(logits.Pointer, l, Rows, classes, 0.5f, losses.Pointer, logits.Pointer, right, pool);
                TestData.AssertSameBits(hinges, losses.Span, $"hinge at {level}");
                TestData.AssertSameBits(dHinge, logits.Span, $"hinge's gradient at {level}");
                for (int r = 0; r < Rows; r++)
                {
                    Span<float> row = x.AsSpan(r * classes, classes);
                    Assert.Equal(row.IndexOf(row.ToArray().Max()) == labels[r] ? 1 : 0, correct[r]);
                }
            }
        }
    }

    [Fact]
    public void BadArguments_AreRefused()
    {
        using var buffer = new NativeBuffer(64);
        float* x = buffer.Pointer, t = x + 16, losses = x + 32;
        t[3] = 1.5f;
        int* label = stackalloc int[1] { 4 };
        Assert.Contains("Row 1 has the target 1.5", Assert.Throws<ArgumentOutOfRangeException>(() => ElementLosses.BinaryCrossEntropy(x, t, 2, 2, losses, null)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => ElementLosses.Huber(x, t, 2, 2, 0, losses, null));
        Assert.Throws<ArgumentOutOfRangeException>(() => MultiClassHinge.Run(x, label, 1, 4, 1, losses, null, null));
        Assert.Throws<ArgumentException>(() => ElementLosses.Absolute(x, t, 2, 4, x + 7, null));
        Assert.Throws<ArgumentException>(() => ElementLosses.Absolute(x, t, 2, 4, losses, x + 1));
    }
}
