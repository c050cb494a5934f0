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

    [Fact]
    public void Convolution_WithAWayBackAtItsEnd_Throws()
    {
        using var buffer = new NativeBuffer(512);
        float* p = buffer.Pointer;
        ConvolutionShape shape = ConvolutionShape.Square(2, 2, 1, 1, 1);
        Convolution.PackData(shape, p, p + 64);
        Assert.Throws<ArgumentException>(() => Convolution.DataGradient(shape, 1, p + 256, p + 64, p + 320, GemmEpilogue.Backward(Activation.Relu, p, 1)));
        Assert.Throws<ArgumentException>(() => Convolution.Forward(shape, 1, p + 256, p + 64, p + 320, GemmEpilogue.Backward(Activation.Relu, p, 1)));
        Assert.Throws<ArgumentException>(() => Convolution.Forward(shape, 1, p + 256, p + 64, p + 320, new GemmEpilogue(p + 321, Activation.Identity)));
        Assert.Throws<ArgumentNullException>(() => GemmEpilogue.Backward(Activation.Relu, null, 1));
    }

    [Fact]
    public void Lstm_LeavesOfAnotherBatch_Throws()
    {
        using var buffer = new NativeBuffer(4096);
        float* p = buffer.Pointer;
        var weights = new RecurrentWeights { Input = p, Recurrent = p + 64 };
        var tape = new LstmTape { Gates = p + 256, States = p + 512, Cells = p + 768, CellTanhs = p + 1024, Room = p + 1280 };
        var leaves = new SequenceLeaves();
        leaves.Set(2, 9, [0, 4, 9]);
        var shape = new SequenceShape(2, 3, 4, 4);
        string message = Assert.Throws<ArgumentException>(
            () => Lstm.Backward(shape, p + 2048, 4, weights, null, tape, p + 2560, 4, null, null, p + 3072, 4, leaves, new RecurrentGradients { Input = p + 3200 })).Message;
        Assert.Contains("9 sequences of 2 steps; there are 3 of 2", message, StringComparison.Ordinal);
    }

    // Taps from elsewhere: nothing is written outside the image.
    [Theory]
    [InlineData(1)]
    [InlineData(16)]
    public void MaxGradient_TapsOutsideTheirWindow_GetNothing(int channels)
    {
        PoolingShape shape = PoolingShape.Square(4, 4, channels, 2);
        using var dy = new BoundedMemory((int)shape.OutputLength);
        using var dx = new BoundedMemory((int)shape.InputLength);
        dy.Span.Fill(1);
        int[] taps = [.. Enumerable.Range(0, (int)shape.OutputLength).Select(i => (i % 3) switch { 0 => 1_000_000_000, 1 => -5, _ => 4 })];
        fixed (int* t = taps) Pooling.MaxGradient(shape, 1, dy.Pointer, t, dx.Pointer);
        Assert.All(dx.Span.ToArray(), v => Assert.Equal(0, v));
    }
}
