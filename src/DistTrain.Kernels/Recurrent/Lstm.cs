namespace DistTrain.Kernels;

/// <summary>What an LSTM's forward run over a batch of sequences leaves for the backward run. The caller owns it all.</summary>
public unsafe struct LstmTape
{
    /// <summary>(time, batch, 4H): the gates' activations; backward leaves their pre-activations' gradients here.</summary>
    public float* Gates;

    /// <summary>
    /// (time + 1, batch, H): the hidden states, in time's order. Slot 0 is the caller's initial state (the last slot when
    /// the run is reversed); the state after the whole run is at the other end.
    /// </summary>
    public float* States;

    /// <summary>(time + 1, batch, H): the cell states, likewise.</summary>
    public float* Cells;

    /// <summary>(time, batch, H): tanh of the cell states.</summary>
    public float* CellTanhs;

    /// <summary>Room for products on their way, of <see cref="SequenceShape.RoomSize"/> floats with 4 gates.</summary>
    public float* Room;
}

/// <summary>
/// An LSTM layer over (time, batch, features). Forward, step by step: the products x·W_ihᵀ and h·W_hhᵀ, each in k's
/// ascending order (<see cref="Gemm"/>), then <see cref="LstmCell"/>. Backward from the last step: the state's gradient is dGates·W_hh + what the cell passes on.
/// The weights' gradients are sums over the shards along the tree (<see cref="SegmentedGemm"/>); within a shard k ascends
/// as (time, example). Padded steps carry the state over; inputs there must be finite, and are otherwise not looked at.
/// </summary>
public static unsafe class Lstm
{
    private const int Gates = 4;

    /// <summary>Runs all steps forward.</summary>
    /// <param name="shape">The sizes.</param>
    /// <param name="x">(time, batch, inputs), rows of <paramref name="strideX"/> floats.</param>
    /// <param name="strideX">Floats from one row of x to the next.</param>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="lengths">(batch): the sequences' lengths, 0 to time; null when none has padding.</param>
    /// <param name="tape">Its initial states are read, all else is written.</param>
    /// <param name="y">(time, batch, H), rows of <paramref name="strideY"/> floats: the states, +0 at padding; null when the tape's states do.</param>
    /// <param name="strideY">Floats from one row of y to the next.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Forward(
        in SequenceShape shape,
        float* x,
        nint strideX,
        in RecurrentWeights weights,
        int* lengths,
        in LstmTape tape,
        float* y,
        nint strideY,
        KernelPool? pool = null)
    {
        Check(in shape, x, strideX, in weights, lengths, in tape, new(y, Guard.Extent(shape.Rows, strideY, shape.Hidden)), default, default);
        nint width = Gates * (nint)shape.Hidden;
        for (int order = 0; order < shape.Time; order++)
        {
            LstmStep step = Step(in shape, shape.Step(order), lengths, in tape, strideY);
            if (y != null) step.Output = y + ((nint)step.Time * shape.Batch * strideY);
            step.Products = SequenceProducts.Step(in shape, order, x, strideX, step.PreviousState, in weights, width, tape.Room, pool);
            LstmCell.Forward(in step, pool);
        }
    }

    /// <summary>Runs all steps backward. Parameters as in <see cref="Forward"/>, and:</summary>
    /// <exception cref="ArgumentException">The shards are of another batch.</exception>
    /// <param name="shape">The sizes.</param>
    /// <param name="x">As it was forward.</param>
    /// <param name="strideX">Floats from one row of x to the next.</param>
    /// <param name="weights">As they were forward.</param>
    /// <param name="lengths">As they were forward.</param>
    /// <param name="tape">What forward left; the gates are overwritten.</param>
    /// <param name="dY">(time, batch, H), rows of <paramref name="strideDY"/> floats: the outputs' gradient; not looked at where there is padding; may be null.</param>
    /// <param name="strideDY">Floats from one row of dY to the next.</param>
    /// <param name="dState">(batch, H): the gradient of the state after the run going in, of the initial state going out.</param>
    /// <param name="dCell">(batch, H): the cell state's, likewise.</param>
    /// <param name="dX">(time, batch, inputs), rows of <paramref name="strideDX"/> floats: the inputs' gradient; null when it is not wanted.</param>
    /// <param name="strideDX">Floats from one row of dX to the next.</param>
    /// <param name="leaves">The batch's shards.</param>
    /// <param name="gradients">Where the weights' gradients go.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Backward(
        in SequenceShape shape,
        float* x,
        nint strideX,
        in RecurrentWeights weights,
        int* lengths,
        in LstmTape tape,
        float* dY,
        nint strideDY,
        float* dState,
        float* dCell,
        float* dX,
        nint strideDX,
        SequenceLeaves leaves,
        in RecurrentGradients gradients,
        KernelPool? pool = null)
    {
        Floats dInputs = new(dX, Guard.Extent(shape.Rows, strideDX, shape.Inputs));
        Check(in shape, x, strideX, in weights, lengths, in tape, dInputs, new(dState, shape.StateSize), new(dCell, shape.StateSize));
        if (gradients.Any) leaves.Require(in shape);
        nint width = Gates * (nint)shape.Hidden;
        for (int order = shape.Time - 1; order >= 0; order--)
        {
            LstmStep step = Step(in shape, shape.Step(order), lengths, in tape, strideDY);
            if (dY != null) step.OutputGradient = dY + ((nint)step.Time * shape.Batch * strideDY);
            step.StateGradient = dState;
            step.CellGradient = dCell;
            LstmCell.Backward(in step, pool);
            SequenceProducts.StateGradient(in shape, step.Gates, width, in weights, 0, width, dState, pool);
            SequenceProducts.InputGradient(in shape, order, tape.Gates, width, width, in weights, dX, strideDX, pool);
        }
        SequenceProducts.InputWeights(in shape, tape.Gates, width, width, x, strideX, leaves, in gradients, pool);
        SequenceProducts.RecurrentWeights(in shape, tape.Gates, width, 0, width, tape.States, leaves, in gradients, gradients.InputBias, pool);
    }

    private static LstmStep Step(in SequenceShape shape, int time, int* lengths, in LstmTape tape, nint stride)
    {
        nint size = shape.StateSize;
        return new LstmStep
        {
            Rows = shape.Batch,
            Hidden = shape.Hidden,
            Gates = tape.Gates + (time * Gates * size),
            PreviousCell = tape.Cells + (shape.Before(time) * size),
            PreviousState = tape.States + (shape.Before(time) * size),
            Cell = tape.Cells + (shape.After(time) * size),
            CellTanh = tape.CellTanhs + (time * size),
            State = tape.States + (shape.After(time) * size),
            StrideOutput = stride,
            Lengths = lengths,
            Time = time,
        };
    }

    private static void Check(
        in SequenceShape shape, float* x, nint strideX, in RecurrentWeights weights, int* lengths, in LstmTape tape, Floats result, Floats dState, Floats dCell)
    {
        SequenceProducts.Check(in shape, x, strideX, in weights, lengths, tape.Gates, tape.States);
        weights.Packed?.Require(Gates, in shape);
        Guard.NotNull(tape.Cells, 1, nameof(tape.Cells));
        Guard.NotNull(tape.CellTanhs, shape.Rows, nameof(tape.CellTanhs));
        Guard.NotNull(tape.Room, shape.Rows, nameof(tape.Room));
        nint slots = (shape.Time + 1) * shape.StateSize;
        Guard.Apart(
            [
                new(tape.Gates, shape.Time * Gates * shape.StateSize), new(tape.States, slots), new(tape.Cells, slots),
                new(tape.CellTanhs, shape.Time * shape.StateSize), new(tape.Room, shape.RoomSize(Gates)), dState, dCell,
            ],
            [new(x, Guard.Extent(shape.Rows, strideX, shape.Inputs)), result]);
    }
}
