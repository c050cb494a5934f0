namespace DistTrain.Kernels.Reference;

/// <summary>Which recurrent layer a reference run is of.</summary>
internal enum RecurrentKind
{
    /// <summary>See <see cref="Lstm"/>.</summary>
    Lstm,

    /// <summary>See <see cref="Gru"/>.</summary>
    Gru,

    /// <summary>See <see cref="Rnn"/>, with tanh.</summary>
    RnnTanh,

    /// <summary>See <see cref="Rnn"/>, with ReLU.</summary>
    RnnRelu,
}

/// <summary>Recurrent layers step by step, element by element, over arrays laid out as the kernels' tapes are.</summary>
internal sealed unsafe class ReferenceSequence(RecurrentKind kind, SequenceShape shape, float[] x, float[][] weights, int[]? lengths)
{
    private readonly int _h = shape.Hidden;
    private readonly int _size = shape.Batch * shape.Hidden;

    /// <summary>Columns of the gates' rows, and how many of them are products with the input.</summary>
    private readonly int _width = (kind is RecurrentKind.Lstm or RecurrentKind.Gru ? 4 : 1) * shape.Hidden;

    private readonly int _products = (kind is RecurrentKind.Lstm ? 4 : kind is RecurrentKind.Gru ? 3 : 1) * shape.Hidden;

    public float[] Gates { get; } = new float[shape.Time * shape.Batch * (kind is RecurrentKind.Lstm or RecurrentKind.Gru ? 4 : 1) * shape.Hidden];

    public float[] States { get; } = new float[(shape.Time + 1) * shape.Batch * shape.Hidden];

    public float[] Cells { get; } = new float[(shape.Time + 1) * shape.Batch * shape.Hidden];

    public float[] CellTanhs { get; } = new float[shape.Time * shape.Batch * shape.Hidden];

    public float[] Outputs { get; } = new float[shape.Time * shape.Batch * shape.Hidden];

    /// <summary>The initial states are in their slots; fills everything else.</summary>
    public void Forward()
    {
        for (int order = 0; order < shape.Time; order++)
        {
            int t = shape.Step(order), before = shape.Before(t) * _size, after = shape.After(t) * _size;
            for (int row = 0; row < shape.Batch; row++)
            {
                for (int j = 0; j < _h; j++)
                {
                    int at = (row * _h) + j;
                    if (lengths is not null && t >= lengths[row])
                    {
                        States[after + at] = States[before + at];
                        Cells[after + at] = Cells[before + at];
                        continue;
                    }
                    float h = Element(t, row, j, before, after);
                    States[after + at] = h;
                    Outputs[(t * _size) + at] = h;
                }
            }
        }
    }

    /// <summary>Leaves the products' gradients in <see cref="Gates"/>; dState and dCell end as the initial states' gradients.</summary>
    public void Backward(float[] dY, float[] dState, float[] dCell)
    {
        Span<float> gates = stackalloc float[4];
        for (int order = shape.Time - 1; order >= 0; order--)
        {
            int t = shape.Step(order), before = shape.Before(t) * _size;
            for (int row = 0; row < shape.Batch; row++)
            {
                bool padding = lengths is not null && t >= lengths[row];
                for (int j = 0; j < _h; j++)
                {
                    int at = (row * _h) + j, output = (t * _size) + at;
                    gates.Clear();
                    if (!padding) dState[at] = BackElement(gates, t, row, j, States[before + at], Cells[before + at], dState[at] + dY[output], ref dCell[at]);
                    Put(gates, t, row, j);
                }
            }
            fixed (float* w = weights[1], g = &Gates[t * shape.Batch * _width], d = dState)
            {
                bool gru = kind == RecurrentKind.Gru;
                ReferenceGemm.Multiply(false, false, shape.Batch, _h, gru ? 2 * _h : _products, 1, g, _width, w, _h, 1, d, _h, null, Activation.Identity);
                if (gru) ReferenceGemm.Multiply(false, false, shape.Batch, _h, _h, 1, g + (3 * _h), _width, w + (2 * _h * _h), _h, 1, d, _h, null, Activation.Identity);
            }
        }
    }

    private float Element(int t, int row, int j, int before, int after)
    {
        Span<float> gates = stackalloc float[4];
        float hidden = 0;
        for (int gate = 0; gate < _products / _h; gate++)
        {
            int unit = (gate * _h) + j;
            float input = Chain(x, ((t * shape.Batch) + row) * shape.Inputs, weights[0], unit * shape.Inputs, shape.Inputs);
            float state = Chain(States, before + (row * _h), weights[1], unit * _h, _h);
            float b = weights[2][unit], c = weights[3][unit];
            gates[gate] = kind == RecurrentKind.Gru && gate == 2 ? input + b : (input + state) + (b + c);
            hidden = state + c;
        }
        int at = (row * _h) + j;
        float h;
        switch (kind)
        {
            case RecurrentKind.Lstm:
                ReferenceCells.LstmForward(gates, Cells[before + at], out Cells[after + at], out CellTanhs[(t * _size) + at], out h);
                break;
            case RecurrentKind.Gru:
                h = ReferenceCells.GruForward(gates, hidden, States[before + at]);
                break;
            default:
                h = gates[0] = kind == RecurrentKind.RnnRelu ? ReferenceFunctions.Relu(gates[0]) : ReferenceFunctions.Tanh(gates[0]);
                break;
        }
        Put(gates, t, row, j);
        return h;
    }

    private float BackElement(Span<float> gates, int t, int row, int j, float previousState, float previousCell, float d, ref float dCell)
    {
        for (int gate = 0; gate < _width / _h; gate++) gates[gate] = Gates[(((t * shape.Batch) + row) * _width) + (gate * _h) + j];
        switch (kind)
        {
            case RecurrentKind.Lstm:
                ReferenceCells.LstmBackward(gates, previousCell, CellTanhs[(t * _size) + (row * _h) + j], d, ref dCell);
                return 0;
            case RecurrentKind.Gru:
                return ReferenceCells.GruBackward(gates, previousState, d);
            default:
                gates[0] = ReferenceFunctions.ActivateBackward(kind == RecurrentKind.RnnRelu ? Activation.Relu : Activation.Tanh, d, gates[0]);
                return 0;
        }
    }

    private void Put(ReadOnlySpan<float> gates, int t, int row, int j)
    {
        for (int gate = 0; gate < _width / _h; gate++) Gates[(((t * shape.Batch) + row) * _width) + (gate * _h) + j] = gates[gate];
    }

    private static float Chain(float[] a, int atA, float[] b, int atB, int length)
    {
        float sum = 0;
        for (int i = 0; i < length; i++) sum = MathF.FusedMultiplyAdd(a[atA + i], b[atB + i], sum);
        return sum;
    }
}
