namespace DistTrain.Kernels.Tests;

public unsafe class DropoutTests
{
    public static TheoryData<int, int, float> Cases => new()
    {
        { 3, 1, 0.5f }, { 2, 31, 0.1f }, { 4, 32, 0.25f }, { 5, 33, 0.9f }, { 1, 256, 0 }, { 7, 100, 0.3f }, { 40, 1000, 0.5f }, { 0, 8, 0.5f },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void ForwardAndApply_LevelsAndThreads_FollowTheKeyedNumbers(int rows, int width, float rate)
    {
        const ulong Step = 17, Position = 5;
        var random = new KeyedRandom(0x1234_5678_9ABC_DEF0, 99);
        int words = (int)Dropout.MaskWords(width);
        using BoundedMemory x = Bounded(TestData.Awkward(rows * width, 1)), dy = Bounded(TestData.Random(rows * width, 2));
        using BoundedMemory y = new(rows * width), dx = new(rows * width), masks = new(rows * words);
        float scale = 1 / (1 - rate);
        bool[] kept = [.. Enumerable.Range(0, rows * width).Select(i =>
            random.Uniform(Step, (ulong)(((i / width) + (int)Position) * words * 32) + (ulong)(i % width)) >= rate)];
        float[] expectedY = [.. x.Span.ToArray().Select((v, i) => kept[i] ? v * scale : 0)];
        float[] expectedDX = [.. dy.Span.ToArray().Select((v, i) => kept[i] ? v * scale : 0)];
        using var pool = new KernelPool(2);

        foreach (SimdLevel level in TestData.Levels)
        {
            using var forced = SimdPath.Force(level);
            masks.Span.Fill(float.NaN);
            Dropout.Forward(random, Step, Position, x.Pointer, rows, width, rate, y.Pointer, (uint*)masks.Pointer, pool);
            Dropout.Apply((uint*)masks.Pointer, dy.Pointer, rows, width, rate, dx.Pointer, pool);
            TestData.AssertSameBits(expectedY, y.Span, $"forward at {level}");
            TestData.AssertSameBits(expectedDX, dx.Span, $"backward at {level}");
        }
    }

    [Fact]
    public void Forward_ManyValues_DropsAboutTheRate()
    {
        const int Count = 100_000;
        float[] x = Enumerable.Repeat(1f, Count).ToArray(), y = new float[Count];
        uint[] masks = new uint[Dropout.MaskWords(Count)];
        fixed (float* px = x, py = y)
        fixed (uint* pm = masks)
        {
            Dropout.Forward(new KeyedRandom(1, 2), 3, 0, px, 1, Count, 0.3f, py, pm);
        }

        // Five standard deviations.
        Assert.InRange(y.Count(v => v == 0), 30_000 - 725, 30_000 + 725);
    }

    [Theory]
    [InlineData(1f)]
    [InlineData(-0.1f)]
    [InlineData(float.NaN)]
    public void Forward_RateThatIsNone_IsRefused(float rate)
    {
        Assert.Throws<ArgumentOutOfRangeException>(() =>
        {
            float x = 1;
            uint mask = 0;
            Dropout.Forward(new KeyedRandom(1, 2), 3, 0, &x, 1, 1, rate, &x, &mask);
        });
    }

    private static BoundedMemory Bounded(float[] values)
    {
        var memory = new BoundedMemory(values.Length);
        values.CopyTo(memory.Span);
        return memory;
    }
}
