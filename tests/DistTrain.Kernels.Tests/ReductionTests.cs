using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class ReductionTests
{
    [Fact]
    public void SumAndMax_AllLengthsAndLevelsAtAPageEnd_EqualReference()
    {
        for (int length = 0; length <= 256; length++)
        {
            using var x = new BoundedMemory(length);
            foreach (float[] input in (float[][])[TestData.Random(length, length), TestData.Awkward(length, length)])
            {
                input.CopyTo(x.Span);
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    TestData.AssertSameBits([ReferenceReductions.Sum(input)], [Reductions.Sum(x.Pointer, length)], $"sum of {length} at {level}");
                    TestData.AssertSameBits([ReferenceReductions.Max(input)], [Reductions.Max(x.Pointer, length)], $"max of {length} at {level}");
                }
            }
        }
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(7, 10)]
    [InlineData(128, 10)]
    [InlineData(5, 16)]
    [InlineData(6, 65)]
    [InlineData(400, 47)]
    public void SoftmaxCrossEntropy_LevelsAndThreads_EqualsReference(int rows, int classes)
    {
        float[] x = TestData.Random(rows * classes, 3), expected = new float[rows * classes], losses = new float[rows];
        for (int i = 1; i < classes; i += 3) x[i] = x[0];
        int[] labels = [.. Enumerable.Range(0, rows).Select(i => i * 7 % classes)];
        var correct = new byte[rows];
        for (int r = 0; r < rows; r++)
        {
            var (loss, right) = ReferenceReductions.SoftmaxCrossEntropyRow(x.AsSpan(r * classes, classes), labels[r], expected.AsSpan(r * classes, classes));
            losses[r] = loss;
            correct[r] = right ? (byte)1 : (byte)0;
        }
        using var pool = new KernelPool(3);
        using var logits = new BoundedMemory(rows * classes);
        using var loss2 = new BoundedMemory(rows);
        var correct2 = new byte[rows];
        foreach (SimdLevel level in TestData.Levels)
        {
            foreach (KernelPool? threads in (KernelPool?[])[null, pool])
            {
                using var forced = SimdPath.Force(level);
                x.CopyTo(logits.Span);
                fixed (int* l = labels)
                fixed (byte* c = correct2)
                {
                    SoftmaxCrossEntropy.Run(logits.Pointer, l, rows, classes, loss2.Pointer, logits.Pointer, c, threads);
                }
                TestData.AssertSameBits(expected, logits.Span, $"gradient at {level}");
                TestData.AssertSameBits(losses, loss2.Span, $"loss at {level}");
                Assert.Equal(correct, correct2);
            }
        }
    }

    [Fact]
    public void SoftmaxCrossEntropy_LargeLogits_StayFinite()
    {
        float* x = stackalloc float[3] { 1e30f, -1e30f, 0 };
        int label = 0;
        float loss;
        SoftmaxCrossEntropy.Run(x, &label, 1, 3, &loss, x, null);
        Assert.Equal(0f, loss);
        TestData.AssertSameBits([0f, 0f, 0f], new ReadOnlySpan<float>(x, 3), "gradient");
    }

    [Fact]
    public void SoftmaxCrossEntropy_LabelOutOfRange_NamesRowAndLabel()
    {
        float* x = stackalloc float[8];
        int* labels = stackalloc int[2] { 2, 3 };
        var failure = Assert.Throws<ArgumentOutOfRangeException>(() => SoftmaxCrossEntropy.Run(x, labels, 2, 3, x + 6, null, null));
        Assert.Contains("Row 1 has label 3", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Probabilities_Rows_SumToOne()
    {
        float[] x = TestData.Random(4 * 33, 1);
        fixed (float* p = x)
        {
            SoftmaxCrossEntropy.Probabilities(p, 4, 33, p);
            for (int r = 0; r < 4; r++) Assert.Equal(1f, Reductions.Sum(p + (r * 33), 33), 1e-6f);
        }
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(9, 10)]
    [InlineData(700, 67)]
    public void SquaredError_LevelsAndThreads_EqualsReference(int rows, int columns)
    {
        float[] p = TestData.Random(rows * columns, 1), t = TestData.Random(rows * columns, 2), d = new float[rows * columns], losses = new float[rows];
        for (int r = 0; r < rows; r++)
        {
            int at = r * columns;
            losses[r] = ReferenceReductions.SquaredErrorRow(p.AsSpan(at, columns), t.AsSpan(at, columns), d.AsSpan(at, columns));
        }
        using var pool = new KernelPool(2);
        float[] gradient = new float[rows * columns], loss2 = new float[rows];
        foreach (SimdLevel level in TestData.Levels)
        {
            using var forced = SimdPath.Force(level);
            fixed (float* pp = p, pt = t, pg = gradient, pl = loss2) SquaredError.Run(pp, pt, rows, columns, pl, pg, pool);
            TestData.AssertSameBits(d, gradient, $"gradient at {level}");
            TestData.AssertSameBits(losses, loss2, $"loss at {level}");
        }
    }
}
