using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class ConvolutionTests
{
    private static readonly (int Examples, ConvolutionShape Shape)[] Shapes =
    [
        (2, ConvolutionShape.Square(6, 7, 5, 20, 3, padding: 1)),
        (3, ConvolutionShape.Square(9, 14, 1, 33, 3, padding: 1)),
        (2, ConvolutionShape.Square(7, 7, 3, 16, 3, stride: 2, padding: 1)),
        (1, ConvolutionShape.Square(11, 17, 4, 48, 5, stride: 2, padding: 2)),
        (2, ConvolutionShape.Square(5, 6, 8, 35, 1)),
        (2, ConvolutionShape.Square(6, 5, 6, 10, 1, stride: 2)),
        (2, ConvolutionShape.Square(9, 9, 2, 3, 3, stride: 3, dilation: 2)),
        (1, ConvolutionShape.Square(8, 13, 17, 5, 3, padding: 2, dilation: 2)),
        (2, ConvolutionShape.Square(6, 8, 12, 18, 3, padding: 1, groups: 3)),
        (2, ConvolutionShape.Square(7, 9, 20, 20, 3, padding: 1, groups: 20)),
        (2, ConvolutionShape.Square(8, 8, 5, 5, 3, stride: 2, padding: 1, groups: 5)),
        (2, ConvolutionShape.Square(6, 6, 4, 12, 3, padding: 1, groups: 4)),
        (2, ConvolutionShape.Square(4, 4, 9, 40, 4)),
        (2, ConvolutionShape.Square(5, 5, 2, 3, 2, stride: 4, padding: 1)),
        (9, ConvolutionShape.Square(3, 2, 1, 1, 2)),
        (2, new ConvolutionShape(1, 40, 7, 33, 1, 5) { PadLeft = 4, DilationX = 1 }),
        (2, new ConvolutionShape(1, 29, 3, 9, 1, 3) { PadLeft = 1, PadRight = 3, StrideX = 2, DilationX = 3 }),
        (2, new ConvolutionShape(9, 6, 3, 34, 2, 3) { PadTop = 1, PadRight = 2, StrideY = 2, DilationY = 3 }),
        (1, new ConvolutionShape(3, 4, 2, 17, 3, 3) { PadTop = 4, PadLeft = 3, PadBottom = 2, PadRight = 5 }),
        (1, ConvolutionShape.Square(3, 64, 32, 32, 3, padding: 1)),
        // Phases of a data gradient whose three rows of taps are not neighbours in the kernel.
        (2, new ConvolutionShape(9, 6, 32, 1, 5, 3) { StrideY = 2 }),
        (2, new ConvolutionShape(11, 7, 40, 1, 6, 3) { PadTop = 1, PadLeft = 1, PadRight = 1, StrideY = 2 }),
        // By minimal filtering: even and odd sides, images in bands, and padding that the data gradient has to take away.
        (3, ConvolutionShape.Square(8, 9, 32, 48, 3, padding: 1)),
        (2, ConvolutionShape.Square(11, 10, 48, 32, 3)),
        (1, ConvolutionShape.Square(27, 32, 32, 32, 3, padding: 1)),
        (2, new ConvolutionShape(8, 9, 32, 32, 3, 3) { PadTop = 3, PadRight = 4, PadLeft = 1 }),
    ];

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Shapes.Length)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Forward_AllLevelsAndThreads_EqualsReference(int index)
    {
        (int examples, ConvolutionShape s) = Shapes[index];
        using var data = new Operands(s, examples);
        float[] expected = new float[data.Y.Length];
        foreach (Activation activation in (Activation[])[Activation.Identity, Activation.Relu, Activation.Tanh])
        {
            float* bias = activation == Activation.Identity ? null : data.Bias.Pointer;
            fixed (float* e = expected) ReferenceConvolution.Forward(s, examples, data.X.Pointer, data.W.Pointer, bias, activation, e);
            Run(data.Y, expected, s, "forward", (pool, y) =>
                Convolution.Forward(s, examples, data.X.Pointer, data.Forward.Pointer, y, new GemmEpilogue(bias, activation), pool));
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void DataGradient_AllLevelsAndThreads_EqualsReference(int index)
    {
        (int examples, ConvolutionShape s) = Shapes[index];
        using var data = new Operands(s, examples);
        float[] expected = new float[data.X.Length];
        foreach (Activation activation in (Activation[])[Activation.Identity, Activation.Sigmoid])
        {
            float* bias = activation == Activation.Identity ? null : data.InputBias.Pointer;
            fixed (float* e = expected) ReferenceConvolution.DataGradient(s, examples, data.Y.Pointer, data.W.Pointer, bias, activation, e);
            Run(data.X, expected, s, "data gradient", (pool, x) =>
                Convolution.DataGradient(s, examples, data.Y.Pointer, data.Data.Pointer, x, new GemmEpilogue(bias, activation), pool));
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void DataGradient_BackThroughAnActivation_EqualsGradientThenActivateBackward(int index)
    {
        (int examples, ConvolutionShape s) = Shapes[index];
        using var data = new Operands(s, examples);
        int pixels = examples * s.Height * s.Width, stride = s.Channels + 3;
        float[] plain = new float[data.X.Length], expected = new float[data.X.Length], outputs = TestData.Random(data.X.Length, 8);
        using var apart = new BoundedMemory(((pixels - 1) * stride) + s.Channels);
        for (int i = 0; i < pixels; i++) outputs.AsSpan(i * s.Channels, s.Channels).CopyTo(apart.Span[(i * stride)..]);
        foreach (Activation activation in Enum.GetValues<Activation>())
        {
            fixed (float* p = plain, e = expected, o = outputs)
            {
                ReferenceConvolution.DataGradient(s, examples, data.Y.Pointer, data.W.Pointer, null, Activation.Identity, p);
                Elementwise.ActivateBackward(activation, p, o, e, plain.Length);
            }
            Run(data.X, expected, s, $"data gradient back through {activation}", (pool, x) =>
                Convolution.DataGradient(s, examples, data.Y.Pointer, data.Data.Pointer, x, GemmEpilogue.Backward(activation, apart.Pointer, stride), pool));
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(8)]
    [InlineData(16)]
    public void Passes_Threads_GiveTheSameBits(int threads)
    {
        using var pool = new KernelPool(threads);
        foreach (ConvolutionShape s in (ConvolutionShape[])[ConvolutionShape.Square(30, 33, 20, 36, 3, padding: 1), ConvolutionShape.Square(30, 33, 32, 48, 3, padding: 1), ConvolutionShape.Square(31, 30, 40, 40, 3, 2, 1, groups: 40)])
        {
            using var data = new Operands(s, 5);
            (KRange[] ranges, int[] starts) = Leaves(5).Last();
            float[][] alone = All(null), together = All(pool);
            for (int i = 0; i < alone.Length; i++) TestData.AssertSameBits(alone[i], together[i], $"pass {i} of {s} on {threads} threads");

            float[][] All(KernelPool? of)
            {
                float[] y = new float[data.Y.Length], x = new float[data.X.Length], w = new float[data.W.Length], b = new float[s.Outputs];
                fixed (float* py = y, px = x, pw = w, pb = b)
                {
                    Convolution.Forward(s, 5, data.X.Pointer, data.Forward.Pointer, py, new GemmEpilogue(data.Bias.Pointer, Activation.Relu), of);
                    Convolution.DataGradient(s, 5, data.Y.Pointer, data.Data.Pointer, px, default, of);
                    Convolution.WeightGradient(s, data.Y.Pointer, data.X.Pointer, ranges, starts, pw, of);
                    Convolution.BiasGradient(s, data.Y.Pointer, ranges, starts, pb, of);
                }
                return [y, x, w, b];
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void WeightGradient_LeavesAndTree_EqualsReference(int index)
    {
        (int examples, ConvolutionShape s) = Shapes[index];
        foreach ((KRange[] ranges, int[] starts) in Leaves(examples))
        {
            using var data = new Operands(s, examples);
            float[] expected = new float[data.W.Length], bias = new float[s.Outputs];
            fixed (float* e = expected, b = bias)
            {
                ReferenceConvolution.WeightGradient(s, data.Y.Pointer, data.X.Pointer, ranges, starts, e);
                ReferenceConvolution.BiasGradient(s, data.Y.Pointer, ranges, starts, b);
            }
            Run(data.W, expected, s, $"weight gradient of {starts.Length - 1} leaves", (pool, w) =>
                Convolution.WeightGradient(s, data.Y.Pointer, data.X.Pointer, ranges, starts, w, pool));
            Run(data.Bias, bias, s, "bias gradient", (pool, b) => Convolution.BiasGradient(s, data.Y.Pointer, ranges, starts, b, pool));
        }
    }

    [Fact]
    public void WeightGradient_ManyLeavesOfManyImages_EqualsReference()
    {
        var s = ConvolutionShape.Square(17, 18, 3, 33, 3, padding: 1);
        using var data = new Operands(s, 19);
        KRange[] ranges = [new(0, 1), new(1, 3), new(4, 0), new(4, 5), new(18, 1), new(9, 2), new(11, 1), new(12, 6)];
        int[] starts = [0, 1, 3, 3, 3, 5, 6, 7, 8, 8];
        float[] expected = new float[data.W.Length];
        fixed (float* e = expected) ReferenceConvolution.WeightGradient(s, data.Y.Pointer, data.X.Pointer, ranges, starts, e);
        Run(data.W, expected, s, "weight gradient", (pool, w) => Convolution.WeightGradient(s, data.Y.Pointer, data.X.Pointer, ranges, starts, w, pool));
    }

    [Theory]
    [InlineData(4, 20)]
    [InlineData(32, 32)]
    public void WeightGradient_WorkersJoinedAlongTheTree_EqualsOneWorker(int channels, int outputs)
    {
        var s = ConvolutionShape.Square(8, 8, channels, outputs, 3, padding: 1);
        using var data = new Operands(s, 14);
        float[] Part(int lo, int hi)
        {
            var dw = new float[s.WeightLength];
            KRange[] ranges = [.. Enumerable.Range(lo, hi - lo).Select(i => new KRange(i * 2, 2))];
            fixed (float* w = dw) Convolution.WeightGradient(s, data.Y.Pointer, data.X.Pointer, ranges, [.. Enumerable.Range(0, hi - lo + 1)], w);
            return dw;
        }

        float[] left = Part(0, 4), right = Part(4, 7);
        fixed (float* l = left, r = right) Elementwise.Add(l, r, l, left.Length);
        TestData.AssertSameBits(Part(0, 7), left, "two workers");
    }

    [Theory]
    [InlineData(32)]
    [InlineData(17)]
    public void Passes_ExamplesInParts_GiveTheSameBits(int outputs)
    {
        // Large enough for images to be cut into bands.
        var s = ConvolutionShape.Square(40, 44, 48, outputs, 3, padding: 1);
        using var data = new Operands(s, 3);
        using var wholeX = new BoundedMemory(data.X.Length);
        using var partX = new BoundedMemory(data.X.Length);
        using var wholeY = new BoundedMemory(data.Y.Length);
        using var partY = new BoundedMemory(data.Y.Length);
        Convolution.DataGradient(s, 3, data.Y.Pointer, data.Data.Pointer, wholeX.Pointer);
        Convolution.Forward(s, 3, data.X.Pointer, data.Forward.Pointer, wholeY.Pointer);
        for (int n = 0; n < 3; n++)
        {
            Convolution.DataGradient(s, 1, data.Y.Pointer + (n * s.OutputLength), data.Data.Pointer, partX.Pointer + (n * s.InputLength));
            Convolution.Forward(s, 1, data.X.Pointer + (n * s.InputLength), data.Forward.Pointer, partY.Pointer + (n * s.OutputLength));
        }
        TestData.AssertSameBits(wholeX.Span, partX.Span, "dX in parts");
        TestData.AssertSameBits(wholeY.Span, partY.Span, "y in parts");
        float[] expected = new float[data.Y.Length];
        fixed (float* e = expected) ReferenceConvolution.Forward(s, 3, data.X.Pointer, data.W.Pointer, null, Activation.Identity, e);
        TestData.AssertSameBits(expected, wholeY.Span, "y in bands");
    }

    [Fact]
    public void Gradients_CentralDifferences_Agree()
    {
        var s = ConvolutionShape.Square(6, 6, 4, 6, 3, stride: 2, padding: 1, groups: 2);
        using var data = new Operands(s, 2);
        float[] x = data.X.Span.ToArray(), w = data.W.Span.ToArray(), weight = data.Y.Span.ToArray();
        float[] dx = new float[x.Length], dw = new float[w.Length];
        fixed (float* px = dx, pw = dw)
        {
            Convolution.DataGradient(s, 2, data.Y.Pointer, data.Data.Pointer, px);
            Convolution.WeightGradient(s, data.Y.Pointer, data.X.Pointer, [new KRange(0, 2)], [0, 1], pw);
        }
        // The loss is linear in each element, so that a step of any size will do.
        for (int i = 0; i < x.Length; i += 5) Assert.Equal(Slope(s, x, w, weight, x, i), dx[i], 1e-3);
        for (int i = 0; i < w.Length; i += 3) Assert.Equal(Slope(s, x, w, weight, w, i), dw[i], 1e-3);
    }

    [Fact]
    public void Forward_NaNAndInfinity_Travel()
    {
        var s = ConvolutionShape.Square(3, 3, 1, 2, 3, padding: 1);
        using var data = new Operands(s, 1);
        data.X.Span.Fill(1);
        data.X.Span[0] = float.NaN;
        data.W.Span.Fill(1);
        data.W.Span[17] = float.PositiveInfinity;
        Convolution.PackForward(s, data.W.Pointer, data.Forward.Pointer);
        Convolution.Forward(s, 1, data.X.Pointer, data.Forward.Pointer, data.Y.Pointer);
        Assert.Equal([float.NaN, float.NaN, float.NaN, float.NaN, 4, float.NaN], data.Y.Span[..6].ToArray());
        // The last tap of the second output is infinite: over +0 outside the image it gives NaN.
        Assert.Equal([4f, float.NaN], data.Y.Span[^2..].ToArray());
        Assert.Equal(float.NaN, data.Y.Span[9]);
    }

    [Theory]
    [InlineData(8)]
    [InlineData(32)]
    public void Passes_SteadyState_AllocateNothing(int channels)
    {
        var s = ConvolutionShape.Square(14, 14, channels, 32, 3, padding: 1);
        using var data = new Operands(s, 4);
        using var pool = new KernelPool(2);
        KRange[] ranges = [new(0, 2), new(2, 2)];
        int[] starts = [0, 1, 2];
        void Pass()
        {
            Convolution.Forward(s, 4, data.X.Pointer, data.Forward.Pointer, data.Y.Pointer, default, pool);
            Convolution.DataGradient(s, 4, data.Y.Pointer, data.Data.Pointer, data.X.Pointer, default, pool);
            Convolution.WeightGradient(s, data.Y.Pointer, data.X.Pointer, ranges, starts, data.W.Pointer, pool);
            Convolution.BiasGradient(s, data.Y.Pointer, ranges, starts, data.Bias.Pointer, pool);
        }

        for (int i = 0; i < 3; i++) Pass();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 5; i++) Pass();
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void Convolution_BadArguments_Throw()
    {
        using var buffer = new NativeBuffer(1000);
        float* p = buffer.Pointer;
        Assert.Throws<ArgumentOutOfRangeException>(() => ConvolutionShape.Square(2, 2, 1, 1, 3).Validate());
        Assert.Throws<ArgumentOutOfRangeException>(() => ConvolutionShape.Square(4, 4, 0, 1, 3).Validate());
        Assert.Throws<ArgumentOutOfRangeException>(() => default(ConvolutionShape).Validate());
        Assert.Throws<ArgumentException>(() => ConvolutionShape.Square(4, 4, 3, 4, 3, groups: 2).Validate());
        var s = ConvolutionShape.Square(4, 4, 1, 1, 3);
        Assert.Throws<ArgumentOutOfRangeException>(() => Convolution.Forward(s, -1, p, p + 100, p + 400));
        Assert.Throws<ArgumentException>(() => Convolution.Forward(s, 2, p, p + 100, p + 31));
        Assert.Throws<ArgumentNullException>(() => Convolution.DataGradient(s, 2, null, p + 100, p + 31));
        Assert.Throws<ArgumentException>(() => Convolution.WeightGradient(s, p, p + 100, [new KRange(0, 2)], [0, 2], p + 400));
        Convolution.Forward(s, 0, null, p, null);
    }

    private static double Slope(in ConvolutionShape s, float[] x, float[] w, float[] weight, float[] moved, int index)
    {
        float at = moved[index];
        moved[index] = at + 0.5f;
        double above = Loss(s, x, w, weight);
        moved[index] = at - 0.5f;
        double below = Loss(s, x, w, weight);
        moved[index] = at;
        return above - below;
    }

    private static double Loss(in ConvolutionShape s, float[] x, float[] w, float[] weight)
    {
        double loss = 0;
        for (int n = 0; n < 2; n++)
            for (int oy = 0; oy < s.OutputHeight; oy++)
                for (int ox = 0; ox < s.OutputWidth; ox++)
                    for (int o = 0; o < s.Outputs; o++)
                        for (int c = 0; c < s.GroupChannels; c++)
                            for (int ky = 0; ky < 3; ky++)
                                for (int kx = 0; kx < 3; kx++)
                                {
                                    int y = (oy * 2) - 1 + ky, column = (ox * 2) - 1 + kx;
                                    if (y < 0 || y > 5 || column < 0 || column > 5) continue;
                                    double pixel = x[(((((n * 6) + y) * 6) + column) * 4) + (o / 3 * 2) + c];
                                    loss += pixel * w[(((((o * 2) + c) * 3) + ky) * 3) + kx] * weight[(((((n * 3) + oy) * 3) + ox) * 6) + o];
                                }
        return loss;
    }

    private static IEnumerable<(KRange[] Ranges, int[] Starts)> Leaves(int examples)
    {
        yield return ([new(0, examples)], [0, 1]);
        yield return ([.. Enumerable.Range(0, examples).Select(i => new KRange(i, 1))], [.. Enumerable.Range(0, examples + 1)]);
        yield return ([new(examples - 1, 1), new(0, examples - 1), new(0, 0)], [0, 0, 2, 3]);
    }

    private static void Run(BoundedMemory output, float[] expected, in ConvolutionShape s, string what, PassOver pass)
    {
        float[] before = output.Span.ToArray();
        foreach (int threads in (int[])[1, 2, 5])
        {
            using var pool = new KernelPool(threads);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                output.Span.Fill(99);
                pass(threads == 1 ? null : pool, output.Pointer);
                TestData.AssertSameBits(expected, output.Span, $"{what} of {s} at {level} on {threads} threads");
            }
        }
        before.CopyTo(output.Span);
    }

    private delegate void PassOver(KernelPool? pool, float* output);

    private sealed class Operands : IDisposable
    {
        public Operands(in ConvolutionShape s, int examples)
        {
            X = Memory(examples * s.InputLength, 1);
            W = Memory(s.WeightLength, 2);
            Y = Memory(examples * s.OutputLength, 3);
            Bias = Memory(s.Outputs, 4);
            InputBias = Memory(s.Channels, 5);
            Forward = Memory(Convolution.ForwardPackedLength(s), 6);
            Data = Memory(Convolution.DataPackedLength(s), 7);
            Convolution.PackForward(s, W.Pointer, Forward.Pointer);
            Convolution.PackData(s, W.Pointer, Data.Pointer);
        }

        public BoundedMemory X { get; }

        public BoundedMemory W { get; }

        public BoundedMemory Y { get; }

        public BoundedMemory Bias { get; }

        public BoundedMemory InputBias { get; }

        public BoundedMemory Forward { get; }

        public BoundedMemory Data { get; }

        public void Dispose()
        {
            foreach (BoundedMemory memory in (BoundedMemory[])[X, W, Y, Bias, InputBias, Forward, Data]) memory.Dispose();
        }

        private static BoundedMemory Memory(nint length, int seed)
        {
            var memory = new BoundedMemory((int)length);
            TestData.Fill(memory.Span, seed);
            return memory;
        }
    }
}
