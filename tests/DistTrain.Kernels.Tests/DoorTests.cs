namespace DistTrain.Kernels.Tests;

/// <summary>What is refused at a kernel's door, and what only looks as if it should be.</summary>
public sealed unsafe class DoorTests
{
    [Fact]
    public void PackedMatrix_OfMoreThanAllMemory_Throws() =>
        Assert.Throws<OverflowException>(() => new PackedMatrix((nint)1 << 40, (nint)1 << 40));

    [Fact]
    public void ConvolutionShape_OfPaddingBeyondCounting_Throws() => Assert.Throws<ArgumentOutOfRangeException>(
        () => (ConvolutionShape.Square(10, 10, 1, 1, 3) with { PadTop = int.MaxValue, PadBottom = int.MaxValue }).Validate());

    [Theory]
    [InlineData(3, 4, 4)]
    [InlineData(1, 4, 4)]
    [InlineData(4, 2, 2)]
    public void Lstm_WeightsPackedForAnotherLayer_Throws(int gates, int inputs, int hidden)
    {
        using var buffer = new NativeBuffer(4096);
        float* p = buffer.Pointer;
        using var packed = new PackedRecurrent(gates, inputs, hidden);
        var weights = new RecurrentWeights { Input = p, Recurrent = p + 64, Packed = packed };
        var tape = new LstmTape { Gates = p + 256, States = p + 512, Cells = p + 768, CellTanhs = p + 1024, Room = p + 1280 };
        string message = Assert.Throws<ArgumentException>(() => Lstm.Forward(new SequenceShape(2, 3, 4, 4), p + 2048, 4, weights, null, tape, p + 2560, 4)).Message;
        Assert.Contains($"packed for {gates} gates, {inputs} inputs and {hidden} units", message, StringComparison.Ordinal);
    }

    // The last row of a view ends before its stride does.
    [Fact]
    public void WeightGradient_ResultBehindAColumnView_IsTaken()
    {
        using var buffer = new NativeBuffer(64);
        float* p = buffer.Pointer;
        for (int i = 0; i < 20; i++) p[i] = i;
        SegmentedGemm.WeightGradient(p + 2, 4, p + 32, 3, 2, 3, [new KRange(0, 5)], [0, 1], p + 20, 3);
        Assert.Equal(0, p[20]);
    }

    [Fact]
    public void Gather_BesideItsTable_IsTaken()
    {
        using var buffer = new NativeBuffer(64);
        float* p = buffer.Pointer;
        for (int i = 20; i < 26; i++) p[i] = i;
        int* ids = stackalloc int[] { 2, 0, 1, 1, 2 };
        Embedding.Gather(p + 20, 3, 2, ids, 5, p + 2, 4);
        Assert.Equal([24, 25], new Span<float>(p + 2, 2).ToArray());
        Assert.Equal([24, 25], new Span<float>(p + 18, 2).ToArray());
    }

    [Fact]
    public void Attention_OffsetBeyondCounting_Throws()
    {
        using var buffer = new NativeBuffer(64);
        float* p = buffer.Pointer;
        var view = new HeadsView(p, 4, 4, 4);
        var shape = new AttentionShape { Batch = 1, Heads = 1, Queries = 1, Keys = 1, Width = 4, Scale = 1, Causal = true, Offset = nint.MaxValue };
        Assert.Throws<ArgumentOutOfRangeException>(() => Attention.Forward(shape, view, view, view, new HeadsView(p + 16, 4, 4, 4), p + 32));
    }
}
