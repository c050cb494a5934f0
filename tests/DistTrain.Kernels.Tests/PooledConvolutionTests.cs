using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

/// <summary>Convolutions that pool at their end, against the passes one by one.</summary>
public unsafe class PooledConvolutionTests
{
    private static readonly (int Examples, ConvolutionShape Shape)[] Shapes =
    [
        (3, ConvolutionShape.Square(9, 14, 1, 32, 3, padding: 1)),
        (2, ConvolutionShape.Square(28, 28, 1, 32, 3, padding: 1)),
        (2, ConvolutionShape.Square(7, 6, 5, 20, 3, padding: 1)),
        (2, ConvolutionShape.Square(9, 9, 3, 16, 3, stride: 2, padding: 1)),
        (3, ConvolutionShape.Square(6, 5, 8, 35, 1)),
        (2, ConvolutionShape.Square(6, 8, 12, 18, 3, padding: 1, groups: 3)),
        (1, ConvolutionShape.Square(67, 65, 3, 40, 3, padding: 1)),
        (2, ConvolutionShape.Square(8, 9, 32, 48, 3, padding: 1)),
        (5, ConvolutionShape.Square(9, 8, 48, 32, 3, padding: 1)),
        (2, ConvolutionShape.Square(27, 34, 32, 32, 3)),
    ];

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Shapes.Length)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Passes_AllLevelsAndThreads_EqualThePassesOneByOne(int index)
    {
        OneByOne(index, relu: false);
        OneByOne(index, relu: true);
    }

    [Fact]
    public void Forward_NaNAndZerosOfBothSigns_PoolAsOneByOne()
    {
        foreach (ConvolutionShape s in (ConvolutionShape[])[ConvolutionShape.Square(6, 6, 1, 32, 3, padding: 1), ConvolutionShape.Square(8, 8, 32, 32, 3, padding: 1)])
        {
            var data = new Operands(s, 4);
            for (int i = 0; i < data.X.Length; i += 7) data.X[i] = i % 2 == 0 ? -0f : 0;
            data.X[5] = float.NaN;
            data.X[(int)s.InputLength + 40] = float.PositiveInfinity;
            Array.Clear(data.Bias);
            foreach (bool relu in (bool[])[false, true])
            {
                float[][] expected = data.OneByOne(relu), together = data.Together(relu, null);
                for (int i = 0; i < expected.Length; i++) TestData.AssertSameBits(expected[i], together[i], $"{Operands.Names[i]} of {s}");
            }
        }
    }

    [Fact]
    public void Passes_BadArguments_Throw()
    {
        using var buffer = new NativeBuffer(1000);
        float* p = buffer.Pointer;
        var s = ConvolutionShape.Square(4, 4, 1, 1, 3, padding: 1);
        Assert.Throws<ArgumentException>(() => Convolution.ForwardPooled(ConvolutionShape.Square(3, 3, 1, 1, 3), 1, p, p + 100, null, true, p + 300, null));
        Assert.Throws<ArgumentException>(() => Convolution.ForwardPooled(ConvolutionShape.Square(4, 4, 2, 2, 3, groups: 2), 1, p, p + 100, null, true, p + 300, null));
        Assert.Throws<ArgumentException>(() => Convolution.ForwardPooled(s, 2, p, p + 100, null, true, p + 300, p + 307));
        Assert.Throws<ArgumentNullException>(() => Convolution.DataGradientPooled(s, 2, p, null, p + 100, p + 300));
        Assert.Throws<ArgumentException>(() => Convolution.BiasGradientPooled(s, p, p + 100, [new KRange(0, 2)], [0, 2], p + 400));
        Convolution.ForwardPooled(s, 0, null, p, null, true, null, null);
    }

    [Fact]
    public void Passes_SteadyState_AllocateNothing()
    {
        foreach (int channels in (int[])[1, 32])
        {
            var s = ConvolutionShape.Square(14, 14, channels, 32, 3, padding: 1);
            using var x = new NativeBuffer(4 * (int)s.InputLength);
            using var y = new NativeBuffer(4 * 49 * 32);
            using var taps = new NativeBuffer(4 * 49 * 32);
            using var packed = new NativeBuffer((int)Math.Max(Convolution.ForwardPackedLength(s), Convolution.DataPackedLength(s)));
            using var dw = new NativeBuffer((int)s.WeightLength);
            using var db = new NativeBuffer(32);
            using var pool = new KernelPool(2);
            KRange[] ranges = [new(0, 2), new(2, 2)];
            int[] starts = [0, 1, 2];
            void Pass()
            {
                Convolution.ForwardPooled(s, 4, x.Pointer, packed.Pointer, db.Pointer, true, y.Pointer, taps.Pointer, pool);
                Convolution.WeightGradientPooled(s, y.Pointer, taps.Pointer, x.Pointer, ranges, starts, dw.Pointer, pool);
                Convolution.BiasGradientPooled(s, y.Pointer, taps.Pointer, ranges, starts, db.Pointer, pool);
                Convolution.DataGradientPooled(s, 4, y.Pointer, taps.Pointer, packed.Pointer, x.Pointer, pool);
            }

            for (int i = 0; i < 3; i++) Pass();
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 5; i++) Pass();
            Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        }
    }

    private static void OneByOne(int index, bool relu)
    {
        (int examples, ConvolutionShape s) = Shapes[index];
        var data = new Operands(s, examples);
        float[][] expected = data.OneByOne(relu);
        foreach (int threads in (int[])[1, 2, 5])
        {
            using var pool = new KernelPool(threads);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                float[][] together = data.Together(relu, threads == 1 ? null : pool);
                for (int i = 0; i < expected.Length; i++)
                    TestData.AssertSameBits(expected[i], together[i], $"{Operands.Names[i]} of {s} at {level} on {threads} threads");
            }
        }
    }

    private sealed class Operands(ConvolutionShape s, int examples)
    {
        public static readonly string[] Names = ["y", "dx", "dw", "db"];

        private readonly PoolingShape _pooling = PoolingShape.Square(s.OutputHeight, s.OutputWidth, s.Outputs, 2);
        private readonly float[] _w = TestData.Random((int)s.WeightLength, 2);
        private readonly float[] _dy = TestData.Random(examples * (s.OutputHeight / 2) * (s.OutputWidth / 2) * s.Outputs, 4);

        // Leaves of one example but for an empty one, and one of all that is left.
        private readonly KRange[] _ranges = [new(0, 1), new(1, examples - 1)];
        private readonly int[] _starts = [0, 1, 1, 2];

        public float[] X { get; } = TestData.Random((int)(examples * s.InputLength), 1);

        public float[] Bias { get; } = TestData.Random(s.Outputs, 3);

        public float[][] OneByOne(bool relu)
        {
            float[] map = new float[examples * s.OutputLength], y = new float[_dy.Length], dmap = new float[map.Length];
            float[] dx = new float[X.Length], dw = new float[_w.Length], db = new float[s.Outputs];
            int[] taps = new int[y.Length];
            Activation activation = relu ? Activation.Relu : Activation.Identity;
            fixed (float* px = X, pw = _w, pb = Bias, pm = map, py = y, pdm = dmap, pdx = dx, pdw = dw, pdb = db, pdy = _dy)
            fixed (int* pt = taps)
            {
                ReferenceConvolution.Forward(s, examples, px, pw, pb, activation, pm);
                ReferencePooling.Max(_pooling, examples, pm, py, pt);
                ReferencePooling.MaxGradient(_pooling, examples, pdy, pt, pdm);
                if (relu) Elementwise.ActivateBackward(activation, pdm, pm, pdm, dmap.Length);
                ReferenceConvolution.DataGradient(s, examples, pdm, pw, null, Activation.Identity, pdx);
                ReferenceConvolution.WeightGradient(s, pdm, px, _ranges, _starts, pdw);
                ReferenceConvolution.BiasGradient(s, pdm, _ranges, _starts, pdb);
            }
            return [y, dx, dw, db];
        }

        public float[][] Together(bool relu, KernelPool? pool)
        {
            float[] y = new float[_dy.Length], taps = new float[y.Length];
            float[] dx = new float[X.Length], dw = new float[_w.Length], db = new float[s.Outputs];
            float[] forward = new float[Convolution.ForwardPackedLength(s)], data = new float[Convolution.DataPackedLength(s)];
            fixed (float* px = X, pw = _w, pb = Bias, py = y, pt = taps, pdx = dx, pdw = dw, pdb = db, pf = forward, pd = data, pdy = _dy)
            {
                Convolution.PackForward(s, pw, pf);
                Convolution.PackData(s, pw, pd);
                Convolution.ForwardPooled(s, examples, px, pf, pb, relu, py, pt, pool);
                Convolution.DataGradientPooled(s, examples, pdy, pt, pd, pdx, pool);
                Convolution.WeightGradientPooled(s, pdy, pt, px, _ranges, _starts, pdw, pool);
                Convolution.BiasGradientPooled(s, pdy, pt, _ranges, _starts, pdb, pool);
            }
            return [y, dx, dw, db];
        }
    }
}
