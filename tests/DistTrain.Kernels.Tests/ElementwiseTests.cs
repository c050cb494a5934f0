using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class ElementwiseTests
{
    private delegate void Unary(float* x, float* y, nint length);

    private delegate void Binary(float* x, float* y, float* z, nint length);

    private static readonly (string Name, Unary Kernel, Func<float, float> Reference)[] Unaries =
    [
        ("copy", (x, y, n) => Elementwise.Copy(x, y, n), x => x),
        ("relu", (x, y, n) => Elementwise.Relu(x, y, n), ReferenceFunctions.Relu),
        ("sigmoid", (x, y, n) => Elementwise.Sigmoid(x, y, n), ReferenceFunctions.Sigmoid),
        ("tanh", (x, y, n) => Elementwise.Tanh(x, y, n), ReferenceFunctions.Tanh),
        ("exp", (x, y, n) => Elementwise.Exp(x, y, n), ReferenceFunctions.Exp),
        ("log", (x, y, n) => Elementwise.Log(x, y, n), ReferenceFunctions.Log),
        ("sqrt", (x, y, n) => Elementwise.Sqrt(x, y, n), MathF.Sqrt),
        ("scale", (x, y, n) => Elementwise.Scale(1.7f, x, y, n), x => x * 1.7f),
        ("divide", (x, y, n) => Elementwise.Divide(3.3f, x, y, n), x => x / 3.3f),
    ];

    private static readonly (string Name, Binary Kernel, Func<float, float, float> Reference)[] Binaries =
    [
        ("add", (x, y, z, n) => Elementwise.Add(x, y, z, n), (x, y) => x + y),
        ("subtract", (x, y, z, n) => Elementwise.Subtract(x, y, z, n), (x, y) => x - y),
        ("multiply", (x, y, z, n) => Elementwise.Multiply(x, y, z, n), (x, y) => x * y),
        ("scale-add", (x, y, z, n) => Elementwise.ScaleAdd(-0.3f, x, y, z, n), (x, y) => MathF.FusedMultiplyAdd(-0.3f, x, y)),
        ("add signs", (x, y, z, n) => Elementwise.AddSigns(0.3f, x, y, z, n), (x, y) => x > 0 ? y + 0.3f : x < 0 ? y - 0.3f : y),
        .. Enum.GetValues<Activation>().Select(a => (
            $"{a} backward",
            (Binary)((x, y, z, n) => Elementwise.ActivateBackward(a, x, y, z, n)),
            (Func<float, float, float>)((dy, y) => ReferenceFunctions.ActivateBackward(a, dy, y)))),
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
    public void Binary_AllLengthsAndLevelsAtAPageEnd_EqualsReference()
    {
        for (int length = 0; length <= 256; length++)
        {
            using var x = new BoundedMemory(length);
            using var y = new BoundedMemory(length);
            using var z = new BoundedMemory(length);
            float[] left = TestData.Awkward(length, length);
            float[] right = TestData.Awkward(length, length + 3);
            left.CopyTo(x.Span);
            right.CopyTo(y.Span);
            foreach (var (name, kernel, reference) in Binaries)
            {
                float[] expected = [.. left.Zip(right, reference)];
                foreach (SimdLevel level in TestData.Levels)
                {
                    using var forced = SimdPath.Force(level);
                    kernel(x.Pointer, y.Pointer, z.Pointer, length);
                    TestData.AssertSameBits(expected, z.Span, $"{name} at {level}");
                }
            }
        }
    }

    [Fact]
    public void Unary_InPlaceUnalignedAndOnThreads_EqualsReference()
    {
        const int Length = 150_001;
        float[] input = TestData.Awkward(Length, 5);
        float[] expected = [.. input.Select(ReferenceFunctions.Tanh)];
        using var buffer = new NativeBuffer(Length + 3);
        for (int threads = 1; threads <= 4; threads++)
        {
            using var pool = new KernelPool(threads);
            float* x = buffer.Pointer + threads - 1;
            input.CopyTo(new Span<float>(x, Length));
            Elementwise.Tanh(x, x, Length, pool);
            TestData.AssertSameBits(expected, new Span<float>(x, Length), $"tanh on {threads} threads");
        }
    }

    [Fact]
    public void Unary_OutputStraddlesInput_Throws()
    {
        using var buffer = new NativeBuffer(64);
        Assert.Throws<ArgumentException>(() => Elementwise.Relu(buffer.Pointer, buffer.Pointer + 1, 32));
        Assert.Throws<ArgumentOutOfRangeException>(() => Elementwise.Relu(buffer.Pointer, buffer.Pointer, -1));
        Assert.Throws<ArgumentNullException>(() => Elementwise.Relu(null, buffer.Pointer, 1));
    }

    [Fact]
    public void Fill_AnyLength_SetsAll()
    {
        using var x = new BoundedMemory(37);
        Elementwise.Fill(x.Pointer, 37, 2.5f);
        Assert.All(x.Span.ToArray(), v => Assert.Equal(2.5f, v));
    }
}
