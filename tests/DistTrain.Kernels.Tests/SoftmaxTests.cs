using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class SoftmaxTests
{
    [Fact]
    public void ForwardAndBackward_AllClassCountsAndLevelsAtAPageEnd_EqualReference()
    {
        for (int classes = 1; classes <= 256; classes++)
        {
            using var x = new BoundedMemory(classes);
            using var g = new BoundedMemory(classes);
            using var y = new BoundedMemory(classes);
            float[] input = classes % 5 == 0 ? TestData.Awkward(classes, classes) : TestData.Random(classes, classes), gradient = TestData.Random(classes, 2);
            float[] soft = new float[classes], logarithms = new float[classes], dSoft = new float[classes], dLogarithms = new float[classes];
            ReferenceSoftmax.Forward(input, soft, out _);
            ReferenceSoftmax.LogForward(input, logarithms);
            ReferenceSoftmax.Backward(gradient, soft, logarithm: false, dSoft);
            ReferenceSoftmax.Backward(gradient, logarithms, logarithm: true, dLogarithms);
            gradient.CopyTo(g.Span);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                input.CopyTo(x.Span);
                Softmax.Forward(x.Pointer, 1, classes, y.Pointer);
                TestData.AssertSameBits(soft, y.Span, $"softmax of {classes} at {level}");
                Softmax.Backward(g.Pointer, y.Pointer, 1, classes, y.Pointer);
                TestData.AssertSameBits(dSoft, y.Span, $"softmax backward of {classes} at {level}");
                Softmax.LogForward(x.Pointer, 1, classes, x.Pointer);
                TestData.AssertSameBits(logarithms, x.Span, $"log-softmax of {classes} at {level}");
                Softmax.LogBackward(g.Pointer, x.Pointer, 1, classes, y.Pointer);
                TestData.AssertSameBits(dLogarithms, y.Span, $"log-softmax backward of {classes} at {level}");
            }
        }
    }

    [Theory]
    [InlineData(1, 0f, false)]
    [InlineData(10, 0.1f, false)]
    [InlineData(16, 0f, true)]
    [InlineData(65, 0.2f, true)]
    [InlineData(131, 1f, true)]
    public void CrossEntropyWithOptions_LevelsAndThreads_EqualsReference(int classes, float smoothing, bool weighted)
    {
        const int Rows = 300;
        float[] x = TestData.Random(Rows * classes, 1), targets = [.. TestData.Random(Rows * classes, 2).Select(MathF.Abs)];
        float[] weights = weighted ? [.. TestData.Random(classes, 3).Select(MathF.Abs)] : [];
        for (int i = 0; i < targets.Length; i += 3) targets[i] = 0;
        int[] labels = [.. Enumerable.Range(0, Rows).Select(i => i % 7 == 3 ? -100 : i % classes)];
        float[] hard = new float[Rows * classes], soft = new float[Rows * classes], hardLosses = new float[Rows], softLosses = new float[Rows], rowWeights = new float[Rows];
        for (int r = 0; r < Rows; r++)
        {
            Span<float> row = x.AsSpan(r * classes, classes);
            softLosses[r] = ReferenceSoftmax.Soft(row, targets.AsSpan(r * classes, classes), smoothing, weights, soft.AsSpan(r * classes, classes));
            if (labels[r] < 0) continue;
            hardLosses[r] = ReferenceSoftmax.Labelled(row, labels[r], smoothing, weights, hard.AsSpan(r * classes, classes));
            rowWeights[r] = weighted ? weights[labels[r]] : 1;
        }
        using var logits = new BoundedMemory(Rows * classes);
        using var losses = new BoundedMemory(Rows);
        using var sums = new BoundedMemory(Rows);
        using var pool = new KernelPool(3);
        fixed (float* w = weights, t = targets)
        fixed (int* l = labels)
        {
            var options = new CrossEntropyOptions { LabelSmoothing = smoothing, ClassWeights = weighted ? w : null, IgnoredLabel = -100 };
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                x.CopyTo(logits.Span);
                SoftmaxCrossEntropy.Run(logits.Pointer, l, Rows, classes, in options, losses.Pointer, sums.Pointer, logits.Pointer, null, pool);
                TestData.AssertSameBits(hard, logits.Span, $"gradient at {level}");
                TestData.AssertSameBits(hardLosses, losses.Span, $"loss at {level}");
                TestData.AssertSameBits(rowWeights, sums.Span, $"weights at {level}");
                x.CopyTo(logits.Span);
                SoftmaxCrossEntropy.RunSoft(logits.Pointer, t, Rows, classes, in options, losses.Pointer, logits.Pointer, pool);
                TestData.AssertSameBits(soft, logits.Span, $"soft gradient at {level}");
                TestData.AssertSameBits(softLosses, losses.Span, $"soft loss at {level}");
            }
        }
    }

    // torch.nn.functional.cross_entropy(x, t, w, reduction='none', ignore_index=-1, label_smoothing=0.1) and its gradient,
    // then the same with a distribution for the labels.
    [Fact]
    public void CrossEntropyWithOptions_KnownRows_GivesPyTorchsNumbers()
    {
        float[] x = [1, 2, 0.5f, 0, -1, 3, 2, 2, 2, 0.3f, 0.1f, -0.2f], w = [0.5f, 2, 1], d = new float[12], losses = new float[4];
        float[] t = [0.2f, 0.3f, 0.5f, 1, 0, 0, 0, 0.6f, 0.4f, 0.1f, 0.1f, 0.8f];
        int[] labels = [1, 2, 0, -1];
        fixed (float* px = x, pw = w, pd = d, pl = losses, pt = t)
        fixed (int* l = labels)
        {
            var options = new CrossEntropyOptions { LabelSmoothing = 0.1f, ClassWeights = pw, IgnoredLabel = -1 };
            SoftmaxCrossEntropy.Run(px, l, 4, 3, in options, pl, null, pd, null);
            Close([0.956706882f, 0.383648634f, 0.622546971f, 0], losses);
            Close([0.426512420f, -0.661980927f, 0.235468388f, 0.030722832f, -0.049233053f, 0.018510181f, -0.277777761f, 0.122222222f, 0.155555561f, 0, 0, 0], d);
            SoftmaxCrossEntropy.RunSoft(px, pt, 4, 3, in options, pl, pd);
            Close([1.387361288f, 1.704000831f, 1.710173249f, 1.366572261f], losses);
            Close(
                [
                    0.170031264f, 0.145476282f, -0.315507531f, -0.440252841f, -0.056949571f, 0.497202456f, 0.502222240f, -0.627777874f, 0.125555560f,
                    0.376086831f, 0.111735560f, -0.487822413f,
                ],
                d);
        }
    }

    [Fact]
    public void CrossEntropy_AwkwardLogits_TellsRightFromWrong()
    {
        const float Inf = float.PositiveInfinity;
        (float[] X, bool Correct)[] rows =
        [
            ([3, 1, 3], true), ([float.NaN, 5, 1], false), ([4, float.NaN, 1], false), ([Inf, 1, 2], true), ([Inf, float.NaN, 2], false),
            ([-Inf, -Inf, -Inf], true), ([-Inf, -Inf, float.NaN], false), ([1, 2, 3], false),
        ];
        foreach (int padding in (int[])[0, 30])
        {
            foreach ((float[] x, bool expected) in rows)
            {
                float[] row = [.. x, .. Enumerable.Repeat(-Inf, padding)];
                byte correct = 7;
                int label = 0;
                float loss;
                fixed (float* p = row) SoftmaxCrossEntropy.Run(p, &label, 1, row.Length, &loss, p, &correct);
                Assert.Equal(expected ? 1 : 0, correct);
            }
        }
    }

    [Fact]
    public void CrossEntropyWithOptions_BadArguments_Throw()
    {
        float* x = stackalloc float[12];
        int* label = stackalloc int[1] { -1 };
        Assert.Throws<ArgumentOutOfRangeException>(() =>
            SoftmaxCrossEntropy.RunSoft(x, x + 3, 1, 3, new CrossEntropyOptions { LabelSmoothing = 1.5f }, x + 6, x));
        var failure = Assert.Throws<ArgumentOutOfRangeException>(() =>
            SoftmaxCrossEntropy.Run(x, label, 1, 3, new CrossEntropyOptions { IgnoredLabel = -2 }, x + 6, null, x, null));
        Assert.Contains("Row 0 has label -1", failure.Message, StringComparison.Ordinal);
    }

    private static void Close(float[] expected, float[] actual)
    {
        for (int i = 0; i < expected.Length; i++) Assert.Equal(expected[i], actual[i], 1e-6f);
    }
}
