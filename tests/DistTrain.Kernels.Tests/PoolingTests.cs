using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class PoolingTests
{
    private static readonly (int Examples, PoolingShape Shape)[] Shapes =
    [
        (3, PoolingShape.Square(6, 8, 1, 2)),
        (2, PoolingShape.Square(7, 9, 5, 2)),
        (2, PoolingShape.Square(8, 8, 16, 2)),
        (5, PoolingShape.Square(9, 7, 33, 3, 2, 1)),
        (2, PoolingShape.Square(5, 5, 70, 3, 1, 1)),
        (2, PoolingShape.Square(6, 5, 17, 2, 3)),
        (2, PoolingShape.Global(7, 5, 150)),
        (2, PoolingShape.Square(34, 35, 1, 2)),
        (2, PoolingShape.Square(11, 40, 1, 3, 2, 1)),
        (1, PoolingShape.Square(10, 37, 3, 3, 1, 1)),
        (2, PoolingShape.Square(9, 30, 2, 2, 3)),
        (2, new PoolingShape(1, 37, 4, 1, 5) { StrideX = 2, PadLeft = 4, PadRight = 1 }),
        (2, new PoolingShape(9, 6, 21, 4, 2) { StrideY = 1, StrideX = 3, PadTop = 3, PadBottom = 2 }),
    ];

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, Shapes.Length)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Max_AllLevelsAndThreads_EqualsReference(int index)
    {
        (int examples, PoolingShape s) = Shapes[index];
        using var x = Memory(examples * s.InputLength, 1, awkward: true);
        using var y = Memory(examples * s.OutputLength, 2, awkward: false);
        using var dx = Memory(examples * s.InputLength, 3, awkward: false);
        using var dy = Memory(examples * s.OutputLength, 4, awkward: true);
        using var taps = new BoundedMemory(y.Length);
        float[] expected = new float[y.Length], gradient = new float[x.Length];
        int[] where = new int[y.Length];
        fixed (float* e = expected, g = gradient)
        fixed (int* w = where)
        {
            ReferencePooling.Max(s, examples, x.Pointer, e, w);
            ReferencePooling.MaxGradient(s, examples, dy.Pointer, w, g);
        }
        Everywhere(s, (pool, what) =>
        {
            Pooling.Max(s, examples, x.Pointer, y.Pointer, null, pool);
            TestData.AssertSameBits(expected, y.Span, $"max without taps {what}");
            y.Span.Fill(99);
            Pooling.Max(s, examples, x.Pointer, y.Pointer, (int*)taps.Pointer, pool);
            TestData.AssertSameBits(expected, y.Span, $"max {what}");
            Assert.Equal(where, new Span<int>(taps.Pointer, taps.Length).ToArray());
            dx.Span.Fill(99);
            Pooling.MaxGradient(s, examples, dy.Pointer, (int*)taps.Pointer, dx.Pointer, pool);
            TestData.AssertSameBits(gradient, dx.Span, $"gradient of max {what}");
        });
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Average_AllLevelsAndThreads_EqualsReference(int index)
    {
        (int examples, PoolingShape s) = Shapes[index];
        using var x = Memory(examples * s.InputLength, 1, awkward: false);
        using var y = Memory(examples * s.OutputLength, 2, awkward: false);
        using var dx = Memory(examples * s.InputLength, 3, awkward: false);
        using var dy = Memory(examples * s.OutputLength, 4, awkward: true);
        float[] expected = new float[y.Length], gradient = new float[x.Length];
        foreach (bool countPadding in (bool[])[true, false])
        {
            fixed (float* e = expected, g = gradient)
            {
                ReferencePooling.Average(s, examples, x.Pointer, e, countPadding);
                ReferencePooling.AverageGradient(s, examples, dy.Pointer, g, countPadding);
            }
            Everywhere(s, (pool, what) =>
            {
                y.Span.Fill(99);
                dx.Span.Fill(99);
                Pooling.Average(s, examples, x.Pointer, y.Pointer, countPadding, pool);
                Pooling.AverageGradient(s, examples, dy.Pointer, dx.Pointer, countPadding, pool);
                TestData.AssertSameBits(expected, y.Span, $"average {what}");
                TestData.AssertSameBits(gradient, dx.Span, $"gradient of average {what}");
            });
        }
    }

    // What torch.nn.functional.max_pool2d and its gradient give (1.13).
    [Fact]
    public void Max_TiesAndNaN_AreLikePyTorchs()
    {
        float nan = float.NaN, low = float.NegativeInfinity;
        float[] x = [1, 1, nan, 2, low, low, 1, 1, 3, nan, low, low], y = new float[3];
        int[] taps = new int[3];
        var s = new PoolingShape(2, 6, 1, 2, 2);
        fixed (float* px = x, py = y)
        fixed (int* pt = taps) Pooling.Max(s, 1, px, py, pt);
        Assert.Equal([1, nan, low], y);
        Assert.Equal([0, 3, 0], taps);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(11)]
    public void MaxGradient_TapsOutsideTheWindow_GoNowhere(int channels)
    {
        var s = PoolingShape.Square(4, 4, channels, 3, 2, 1);
        using var dy = Memory(s.OutputLength, 1, awkward: false);
        using var dx = Memory(s.InputLength, 2, awkward: false);
        int[] taps = [.. Enumerable.Range(0, (int)s.OutputLength).Select(i => (i % 5) switch { 0 => -1, 1 => 9, 2 => int.MinValue, 3 => int.MaxValue, _ => 0 })];
        // Tap 0 lies in no window but the last one.
        float[] expected = new float[s.InputLength];
        for (int c = 0, last = (int)s.OutputLength - channels; c < channels; c++)
            if (taps[last + c] == 0) expected[(((1 * 4) + 1) * channels) + c] = 0f + dy.Span[last + c];
        fixed (int* t = taps) Pooling.MaxGradient(s, 1, dy.Pointer, t, dx.Pointer);
        TestData.AssertSameBits(expected, dx.Span, $"{channels} channels");
    }

    [Fact]
    public void Pooling_BadArguments_Throw()
    {
        using var buffer = new NativeBuffer(200);
        float* p = buffer.Pointer;
        Assert.Throws<ArgumentOutOfRangeException>(() => PoolingShape.Square(4, 4, 1, 2, 2, 2).Validate());
        Assert.Throws<ArgumentOutOfRangeException>(() => PoolingShape.Square(2, 2, 1, 3).Validate());
        Assert.Throws<ArgumentOutOfRangeException>(() => default(PoolingShape).Validate());
        var s = PoolingShape.Square(4, 4, 2, 2);
        Assert.Throws<ArgumentException>(() => Pooling.Max(s, 1, p, p + 31, null));
        Assert.Throws<ArgumentNullException>(() => Pooling.MaxGradient(s, 1, p, null, p + 100));
        Assert.Throws<ArgumentOutOfRangeException>(() => Pooling.Average(s, -1, p, p + 100, countPadding: true));
        Pooling.Max(s, 0, null, null, null);
    }

    private static void Everywhere(in PoolingShape s, Action<KernelPool?, string> check)
    {
        foreach (int threads in (int[])[1, 3])
        {
            using var pool = new KernelPool(threads);
            foreach (SimdLevel level in TestData.Levels)
            {
                using var forced = SimdPath.Force(level);
                check(threads == 1 ? null : pool, $"of {s} at {level} on {threads} threads");
            }
        }
    }

    private static BoundedMemory Memory(nint length, int seed, bool awkward)
    {
        var memory = new BoundedMemory((int)length);
        if (awkward) TestData.Awkward((int)length, seed).CopyTo(memory.Span);
        else TestData.Fill(memory.Span, seed);
        return memory;
    }
}
