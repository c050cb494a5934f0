using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

/// <summary>A recurrent layer's operands and one run of the kernels over them.</summary>
internal sealed unsafe class RecurrentRun
{
    private readonly RecurrentKind _kind;

    public RecurrentRun(RecurrentKind kind, SequenceShape shape, int[]? lengths, int seed = 1)
    {
        _kind = kind;
        Shape = shape;
        Lengths = lengths;
        int h = shape.Hidden, size = shape.Batch * h, gates = Products(kind);
        X = Small(shape.Time * shape.Batch * shape.Inputs, seed, 0.3f);
        Weights = [Small(gates * h * shape.Inputs, seed + 1, 0.1f), Small(gates * h * h, seed + 2, 0.1f), Small(gates * h, seed + 3, 0.1f), Small(gates * h, seed + 4, 0.1f)];
        InitialState = Small(size, seed + 5, 0.2f);
        InitialCell = Small(size, seed + 6, 0.2f);
        DY = Small(shape.Time * size, seed + 7, 0.3f);
        DState = Small(size, seed + 8, 0.3f);
        DCell = Small(size, seed + 9, 0.3f);
    }

    public SequenceShape Shape { get; }

    public int[]? Lengths { get; }

    public float[] X { get; }

    /// <summary>W_ih, W_hh, b_ih, b_hh.</summary>
    public float[][] Weights { get; }

    public float[] InitialState { get; }

    public float[] InitialCell { get; }

    public float[] DY { get; }

    /// <summary>The gradient of the state after the run, then of the initial one.</summary>
    public float[] DState { get; private set; }

    public float[] DCell { get; private set; }

    public float[] Y { get; private set; } = [];

    public float[] States { get; private set; } = [];

    public float[] Gates { get; private set; } = [];

    public float[] DX { get; private set; } = [];

    /// <summary>The gradients of <see cref="Weights"/>.</summary>
    public float[][] Gradients { get; private set; } = [];

    public static int Products(RecurrentKind kind) => kind switch { RecurrentKind.Lstm => 4, RecurrentKind.Gru => 3, _ => 1 };

    /// <summary>Forward and backward with the outputs in rows of twice their length, as in a bidirectional layer.</summary>
    public void Run(int[] cuts, KernelPool? pool = null, bool packs = false)
    {
        SequenceShape shape = Shape;
        int h = Shape.Hidden, size = Shape.Batch * h, stride = 2 * h, width = _kind is RecurrentKind.Lstm or RecurrentKind.Gru ? 4 * h : h;
        var leaves = new SequenceLeaves();
        leaves.Set(Shape.Time, Shape.Batch, cuts);
        States = new float[(Shape.Time + 1) * size];
        float[] cells = new float[States.Length], tanhs = new float[Shape.Time * size], room = new float[shape.RoomSize(Products(_kind))];
        Gates = new float[Shape.Time * Shape.Batch * width];
        InitialState.CopyTo(States, Shape.Reverse ? Shape.Time * size : 0);
        InitialCell.CopyTo(cells, Shape.Reverse ? Shape.Time * size : 0);
        float[] wide = Spread(new float[Shape.Time * size], h, stride), wideDY = Spread(DY, h, stride);
        DX = new float[X.Length];
        DState = [.. DState];
        DCell = [.. DCell];
        Gradients = [.. Weights.Select(w => new float[w.Length])];
        fixed (float* x = X, wi = Weights[0], wh = Weights[1], bi = Weights[2], bh = Weights[3], s = States, c = cells, ct = tanhs, g = Gates, hp = room)
        fixed (float* y = wide, dy = wideDY, ds = DState, dc = DCell, dx = DX, gi = Gradients[0], gh = Gradients[1], gbi = Gradients[2], gbh = Gradients[3])
        fixed (int* l = Lengths)
        {
            using PackedRecurrent? packed = packs ? new PackedRecurrent(Products(_kind), shape.Inputs, h) : null;
            var weights = new RecurrentWeights { Input = wi, Recurrent = wh, InputBias = bi, RecurrentBias = bh, Packed = packed };
            packed?.PackForward(in weights);
            packed?.PackBackward(in weights);
            var gradients = new RecurrentGradients { Input = gi, Recurrent = gh, InputBias = gbi, RecurrentBias = gbh };
            switch (_kind)
            {
                case RecurrentKind.Lstm:
                    var lstm = new LstmTape { Gates = g, States = s, Cells = c, CellTanhs = ct, Room = hp };
                    Lstm.Forward(in shape, x, shape.Inputs, in weights, l, in lstm, y, stride, pool);
                    Lstm.Backward(in shape, x, shape.Inputs, in weights, l, in lstm, dy, stride, ds, dc, dx, shape.Inputs, leaves, in gradients, pool);
                    break;
                case RecurrentKind.Gru:
                    var gru = new GruTape { Gates = g, States = s, Room = hp };
                    Gru.Forward(in shape, x, shape.Inputs, in weights, l, in gru, y, stride, pool);
                    Gru.Backward(in shape, x, shape.Inputs, in weights, l, in gru, dy, stride, ds, dx, shape.Inputs, leaves, in gradients, pool);
                    break;
                default:
                    var rnn = new RnnTape { Gates = g, States = s, Room = hp };
                    bool relu = _kind == RecurrentKind.RnnRelu;
                    Rnn.Forward(in shape, relu, x, shape.Inputs, in weights, l, in rnn, y, stride, pool);
                    Rnn.Backward(in shape, relu, x, shape.Inputs, in weights, l, in rnn, dy, stride, ds, dx, shape.Inputs, leaves, in gradients, pool);
                    break;
            }
        }
        Y = [.. Enumerable.Range(0, Shape.Time * size).Select(i => wide[(i / h * stride) + (i % h)])];
    }

    private static float[] Spread(float[] rows, int length, int stride)
    {
        float[] wide = new float[rows.Length / length * stride];
        for (int i = 0; i < rows.Length; i++) wide[(i / length * stride) + (i % length)] = rows[i];
        return wide;
    }

    private static float[] Small(int length, int seed, float scale) => [.. TestData.Random(length, seed).Select(v => v * scale)];
}
