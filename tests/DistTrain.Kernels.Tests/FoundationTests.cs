namespace DistTrain.Kernels.Tests;

public unsafe class FoundationTests
{
    [Theory]
    [InlineData("512", SimdLevel.Vector512)]
    [InlineData("256", SimdLevel.Vector256)]
    [InlineData("128", SimdLevel.Vector128)]
    [InlineData(" Scalar ", SimdLevel.Scalar)]
    public void SimdPath_KnownValue_GivesThatLevelOrTheWidest(string value, SimdLevel expected) =>
        Assert.Equal(expected < SimdPath.Widest ? expected : SimdPath.Widest, SimdPath.Parse(value));

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    public void SimdPath_NoValue_GivesTheWidest(string? value) => Assert.Equal(SimdPath.Widest, SimdPath.Parse(value));

    [Theory]
    [InlineData("avx2")]
    [InlineData("1024")]
    public void SimdPath_UnknownValue_NamesValueAndChoices(string value)
    {
        var failure = Assert.Throws<ArgumentException>(() => SimdPath.Parse(value));
        Assert.Contains($"DISTTRAIN_SIMD={value}", failure.Message, StringComparison.Ordinal);
        Assert.Contains("512, 256, 128 and scalar", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void NativeBuffer_New_IsAlignedAndZero()
    {
        foreach (int length in (int[])[0, 1, 16, 17, 10_000])
        {
            using var buffer = new NativeBuffer(length);
            Assert.Equal(0, (nint)buffer.Pointer % NativeBuffer.Alignment);
            Assert.Equal(length, buffer.Length);
            Assert.Equal(new float[length], buffer.Span.ToArray());
            buffer.Span.Fill(1);
            buffer.Clear();
            Assert.Equal(new float[length], buffer.Span.ToArray());
        }
    }

    [Fact]
    public void NativeBuffer_Disposed_Throws()
    {
        var buffer = new NativeBuffer(4);
        buffer.Dispose();
        buffer.Dispose();
        Assert.Throws<ObjectDisposedException>(() => buffer.Span.Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => new NativeBuffer(-1));
    }
}
