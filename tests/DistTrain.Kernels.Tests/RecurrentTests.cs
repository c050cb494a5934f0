using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class RecurrentTests
{
    private static readonly RecurrentKind[] Kinds = Enum.GetValues<RecurrentKind>();

    public static TheoryData<int, int, int, int, bool, int[]?, int[]> Shapes => new()
    {
        { 3, 5, 4, 7, false, null, [0, 2, 5] },
        { 1, 1, 1, 1, false, null, [0, 1] },
        { 4, 6, 3, 33, true, null, [0, 1, 1, 4, 6] },
        { 5, 4, 5, 16, false, [5, 0, 3, 1], [0, 1, 2, 3, 4] },
        { 4, 5, 2, 50, true, [2, 4, 0, 1, 3], [0, 3, 5] },
        { 2, 3, 9, 65, false, [2, 2, 1], [0, 3] },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Sequence_LevelsAndThreads_EqualsReference(int time, int batch, int inputs, int hidden, bool reverse, int[]? lengths, int[] cuts)
    {
        using var pool = new KernelPool(3);
        foreach (RecurrentKind kind in Kinds)
        {
            var shape = new SequenceShape(time, batch, inputs, hidden, reverse);
            var plain = new RecurrentRun(kind, shape, lengths);
            var expected = new ReferenceSequence(kind, shape, plain.X, plain.Weights, lengths);
            int slot = reverse ? time * batch * hidden : 0;
            plain.InitialState.CopyTo(expected.States, slot);
            plain.InitialCell.CopyTo(expected.Cells, slot);
            expected.Forward();
            float[] dState = [.. plain.DState], dCell = [.. plain.DCell];
            expected.Backward(plain.DY, dState, dCell);
            float[][] gradients = Gradients(kind, shape, plain, expected, cuts, out float[] dx);
            foreach (SimdLevel level in TestData.Levels)
            {
                foreach (KernelPool? on in new[] { null, pool })
                {
                    using var forced = SimdPath.Force(level);
                    var run = new RecurrentRun(kind, shape, lengths);
                    run.Run(cuts, on, packs: on is not null);
                    string what = $"{kind} at {level}{(on is null ? "" : ", packed, on 3 threads")}";
                    TestData.AssertSameBits(expected.Outputs, run.Y, $"{what}: outputs");
                    TestData.AssertSameBits(expected.States, run.States, $"{what}: states");
                    TestData.AssertSameBits(expected.Gates, run.Gates, $"{what}: gates' gradients");
                    TestData.AssertSameBits(dState, run.DState, $"{what}: initial state's gradient");
                    if (kind == RecurrentKind.Lstm) TestData.AssertSameBits(dCell, run.DCell, $"{what}: initial cell's gradient");
                    TestData.AssertSameBits(dx, run.DX, $"{what}: inputs' gradient");
                    for (int i = 0; i < 4; i++) TestData.AssertSameBits(gradients[i], run.Gradients[i], $"{what}: gradient {i}");
                }
            }
        }
    }

    [Fact]
    public void Sequence_CentralDifferences_Agree()
    {
        foreach (RecurrentKind kind in Kinds)
        {
            foreach (bool reverse in (bool[])[false, true])
            {
                int[] lengths = [3, 1, 0, 2];
                var run = new RecurrentRun(kind, new SequenceShape(3, 4, 2, 3, reverse), lengths, seed: 20);
                var model = new DoubleRecurrent(kind, run, lengths);
                double[][] slopes = model.Slopes();
                run.Run([0, 1, 4]);
                float[][] gradients = [run.DX, .. run.Gradients, run.DState, run.DCell];
                for (int p = 0; p < slopes.Length; p++)
                {
                    for (int i = 0; i < slopes[p].Length; i++)
                        Assert.True(Math.Abs(slopes[p][i] - gradients[p][i]) < 1e-5, $"{kind}, operand {p}, element {i}: {gradients[p][i]} should be {slopes[p][i]}");
                }
            }
        }
    }

    [Fact]
    public void Sequence_TwoWorkersWithHalfTheShards_JoinToTheWhole()
    {
        foreach (RecurrentKind kind in Kinds)
        {
            const int Time = 3, Inputs = 4, Hidden = 10;
            var whole = new RecurrentRun(kind, new SequenceShape(Time, 6, Inputs, Hidden), null);
            RecurrentRun[] halves = [.. new[] { 0, 3 }.Select(first =>
            {
                var half = new RecurrentRun(kind, new SequenceShape(Time, 3, Inputs, Hidden), null);
                Part(whole.X, half.X, Time, 6 * Inputs, first * Inputs, 3 * Inputs);
                Part(whole.DY, half.DY, Time, 6 * Hidden, first * Hidden, 3 * Hidden);
                Part(whole.InitialState, half.InitialState, 1, 0, first * Hidden, 3 * Hidden);
                Part(whole.InitialCell, half.InitialCell, 1, 0, first * Hidden, 3 * Hidden);
                Part(whole.DState, half.DState, 1, 0, first * Hidden, 3 * Hidden);
                Part(whole.DCell, half.DCell, 1, 0, first * Hidden, 3 * Hidden);
                return half;
            })];
            whole.Run([0, 1, 3, 5, 6]);
            halves[0].Run([0, 1, 3]);
            halves[1].Run([0, 2, 3]);
            for (int i = 0; i < 4; i++)
            {
                float[] joined = [.. halves[0].Gradients[i].Zip(halves[1].Gradients[i], (a, b) => a + b)];
                TestData.AssertSameBits(whole.Gradients[i], joined, $"{kind}: gradient {i}");
            }
        }
    }

    // From PyTorch 1.13: torch.nn.LSTM / GRU / RNN, one layer, y and the final state, seeds and scales as in RecurrentRun.
    [Theory]
    [InlineData(0, new[] { -1.922078, 6.143983, -9.928342, -3.726032, 11.97483, 11.97483, 0.5299806 })]
    [InlineData(1, new[] { -1.919626, -1.300443, -0.4593418, 0.6525186, 14.93925, 8.924344, 2.859376 })]
    [InlineData(2, new[] { 9.138348, -0.6412014, -14.90747, 19.97272, 10.8687, 10.8687, 1.823752 })]
    public void Sequence_AgainstPyTorch_Agrees(int kind, double[] golden)
    {
        var run = new RecurrentRun((RecurrentKind)kind, new SequenceShape(3, 2, 3, 4), null, seed: 40);
        run.Run([0, 2]);
        double[] sums = [run.Y.Sum(v => (double)v), Weighted(run.DX), .. run.Gradients.Select(Weighted), Weighted(run.DState)];
        for (int i = 0; i < sums.Length; i++) Assert.Equal(golden[i], sums[i], 1e-5);
    }

    [Fact]
    public void Sequence_BadLengthsOrShards_Throws()
    {
        var leaves = new SequenceLeaves();
        Assert.Throws<ArgumentException>(() => leaves.Set(2, 3, [0, 2]));
        Assert.Throws<ArgumentException>(() => leaves.Set(2, 3, [0, 2, 1, 3]));
        var run = new RecurrentRun(RecurrentKind.Lstm, new SequenceShape(2, 2, 1, 1), [1, 3]);
        Assert.Contains("Sequence 1 has length 3", Assert.Throws<ArgumentException>(() => run.Run([0, 2])).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(3, 2)]
    [InlineData(2, 3)]
    [InlineData(0, 0)]
    public void Backward_ShardsOfAnotherBatch_Throws(int time, int batch)
    {
        var leaves = new SequenceLeaves();
        if (time > 0) leaves.Set(time, batch, [0, batch]);
        var shape = new SequenceShape(2, 2, 1, 1);
        using var buffer = new NativeBuffer(256);
        float* p = buffer.Pointer;
        var weights = new RecurrentWeights { Input = p, Recurrent = p + 8 };
        var gradients = new RecurrentGradients { Input = p + 16, Recurrent = p + 24 };
        float* x = p + 32, dState = p + 40, dCell = p + 48, gates = p + 64, states = p + 96, cells = p + 112, tanhs = p + 128, room = p + 144;
        string message = Assert.Throws<ArgumentException>(() => Lstm.Backward(
            shape, x, 1, weights, null, new LstmTape { Gates = gates, States = states, Cells = cells, CellTanhs = tanhs, Room = room },
            null, 0, dState, dCell, null, 0, leaves, gradients)).Message;
        Assert.Contains($"{time} steps of {batch} examples", message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => Gru.Backward(
            shape, x, 1, weights, null, new GruTape { Gates = gates, States = states, Room = room }, null, 0, dState, null, 0, leaves, gradients));
        Assert.Throws<ArgumentException>(() => Rnn.Backward(
            shape, true, x, 1, weights, null, new RnnTape { Gates = gates, States = states, Room = room }, null, 0, dState, null, 0, leaves, gradients));
    }

    [Fact]
    public void Sequence_SteadyState_AllocatesNothing()
    {
        var leaves = new SequenceLeaves();
        int[] cuts = [0, 2, 4];
        leaves.Set(3, 4, cuts);
        long before = GC.GetAllocatedBytesForCurrentThread();
        leaves.Set(3, 4, cuts);
        leaves.Set(2, 4, cuts);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    private static double Weighted(float[] values) => values.Select((v, i) => v * (1.0 + (i % 7))).Sum();

    private static void Part(float[] source, float[] target, int blocks, int stride, int start, int length)
    {
        for (int i = 0; i < blocks; i++) source.AsSpan((i * stride) + start, length).CopyTo(target.AsSpan(i * length));
    }

    private static float[][] Gradients(RecurrentKind kind, SequenceShape shape, RecurrentRun run, ReferenceSequence sequence, int[] cuts, out float[] dx)
    {
        int h = shape.Hidden, products = RecurrentRun.Products(kind) * h, width = sequence.Gates.Length / (shape.Time * shape.Batch);
        var leaves = new SequenceLeaves();
        leaves.Set(shape.Time, shape.Batch, cuts);
        KRange[] ranges = [.. leaves.Ranges];
        int[] starts = [.. leaves.Starts];
        dx = new float[run.X.Length];
        float[][] result = [.. run.Weights.Select(w => new float[w.Length])];
        fixed (float* g = sequence.Gates, s = sequence.States, x = run.X, wi = run.Weights[0], d = dx, gi = result[0], gh = result[1], gbi = result[2], gbh = result[3])
        {
            float* before = s + (shape.Before(0) * shape.Batch * h);
            ReferenceGemm.Multiply(false, false, shape.Time * shape.Batch, shape.Inputs, products, 1, g, width, wi, shape.Inputs, 0, d, shape.Inputs, null, Activation.Identity);
            ReferenceGemm.WeightGradient(g, width, x, shape.Inputs, products, shape.Inputs, ranges, starts, gi, shape.Inputs);
            ReferenceGemm.ColumnSum(g, width, products, ranges, starts, gbi);
            // A GRU's hidden products of n have a gradient of their own, in the row's last H columns.
            int shared = kind == RecurrentKind.Gru ? 2 * h : products;
            ReferenceGemm.WeightGradient(g, width, before, h, shared, h, ranges, starts, gh, h);
            ReferenceGemm.ColumnSum(g, width, shared, ranges, starts, gbh);
            if (kind == RecurrentKind.Gru)
            {
                ReferenceGemm.WeightGradient(g + (3 * h), width, before, h, h, h, ranges, starts, gh + (shared * h), h);
                ReferenceGemm.ColumnSum(g + (3 * h), width, h, ranges, starts, gbh + shared);
            }
        }
        return result;
    }
}
