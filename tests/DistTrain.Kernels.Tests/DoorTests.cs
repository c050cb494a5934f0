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

    [Fact]
    public void SecondaryArrays_OverlappingTheOthers_Throw()
    {
        using var buffer = new NativeBuffer(1024);
        float* p = buffer.Pointer, x = p, y = p + 64, scale = p + 128, shift = p + 144, means = p + 160, r = p + 176, ds = p + 192, db = p + 208, sums = p + 224;
        KRange[] ranges = [new(0, 4)];
        int[] starts = [0, 1];
        Refuses(() => Gemm.Multiply(MatrixForm.Normal, MatrixForm.Normal, 4, 4, 4, 1, x, 4, y, 4, 0, p + 256, 4, new GemmEpilogue(p + 270)));
        var conv = ConvolutionShape.Square(4, 4, 1, 1, 3);
        Refuses(() => Convolution.Forward(conv, 1, x, y, p + 256, new GemmEpilogue(p + 259)));
        Refuses(() => Convolution.DataGradient(conv, 1, y, p + 128, x, GemmEpilogue.Backward(Activation.Relu, x, 1)));
        int* labels = stackalloc int[4];
        new Span<int>(labels, 4).Clear();
        Refuses(() => SoftmaxCrossEntropy.Run(x, labels, 4, 4, x + 15, y, null));
        Refuses(() => SoftmaxCrossEntropy.Run(x, labels, 4, 4, means, y, (byte*)y));
        Refuses(() => SoftmaxCrossEntropy.Run(x, labels, 4, 4, default, means, means + 3, y, null));
        Refuses(() => SquaredError.Run(x, y, 4, 4, y + 15, null));
        Refuses(() => LayerNorm.Forward(x, 4, 4, scale, shift, 0, y, means, means + 3));
        Refuses(() => LayerNorm.Backward(x, y, 4, scale, means, r, ranges, starts, x, ds, ds + 3));
        Refuses(() => RmsNorm.Forward(x, 4, 4, scale, 0, y, y + 15));
        Refuses(() => BatchNorm.Forward(x, 4, ranges, starts, scale, shift, 0, scale, shift, y, means, r, r + 3));
        Refuses(() => BatchNorm.Backward(x, y, 4, ranges, starts, scale, means, r, x, ds, scale));
        Refuses(() => GroupNorm.Forward(x, 1, 4, 4, 2, scale, shift, 0, y, means, means + 1));
        Refuses(() => GroupNorm.Backward(x, y, 1, 4, 4, 2, scale, means, r, [new(0, 1)], starts, x, ds, x + 15));
        Refuses(() => Prelu.Forward(x, y + 15, 4, 1, 4, y));
        Refuses(() => Embedding.Gradient(x, 4, 4, 4, (int*)y, [new(0, 4)], starts, y));
        RmsNorm.Forward(x, 4, 4, scale, 1, y, r);
        BatchNorm.Forward(x, 4, ranges, starts, scale, shift, 1, scale, shift, y, means, r, sums);

        static void Refuses(Action call) => Assert.Contains("overlaps", Assert.Throws<ArgumentException>(call).Message, StringComparison.Ordinal);
    }

    // One example of three positions and two heads, four wide: rows of 48 floats.
    [Theory]
    [InlineData(12, 4, false)]
    [InlineData(4, 8, false)]
    [InlineData(24, 20, false)]
    [InlineData(12, 0, true)]
    [InlineData(12, 3, true)]
    [InlineData(4, 4, true)]
    [InlineData(24, 24, true)]
    public void Attention_GradientsInterleavedOrOverlapping_AreToldApart(int head, int distance, bool refused)
    {
        var shape = new AttentionShape { Batch = 1, Heads = 2, Queries = 3, Keys = 3, Width = 4, Scale = 1 };
        using var buffer = new NativeBuffer(1024);
        float* p = buffer.Pointer;
        HeadsView At(int place) => new(p + place, 144, 48, head);
        Action call = () => Attention.Backward(shape, At(0), At(0), At(0), At(160), p + 800, At(160), At(400), At(400 + distance), At(600));
        if (refused) Assert.Throws<ArgumentException>(call);
        else call();
    }

    [Fact]
    public void Lstm_TapesOverlap_Throws()
    {
        using var buffer = new NativeBuffer(4096);
        float* p = buffer.Pointer;
        var weights = new RecurrentWeights { Input = p, Recurrent = p + 64 };
        var tape = new LstmTape { Gates = p + 256, States = p + 512, Cells = p + 530, CellTanhs = p + 1024, Room = p + 1280 };
        Assert.Throws<ArgumentException>(() => Lstm.Forward(new SequenceShape(2, 3, 4, 4), p + 2048, 4, weights, null, tape, p + 2560, 4));
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
    public void Epilogue_BackWithoutOutputs_Throws() =>
        Assert.Throws<ArgumentNullException>(() => GemmEpilogue.Backward(Activation.Relu, null, 1));

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
        Assert.Contains("2 steps of 9 examples; the run has 2 steps of 3", message, StringComparison.Ordinal);
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
