namespace DistTrain.Kernels;

/// <summary>What a GRU's forward run over a batch of sequences leaves for the backward run. The caller owns it all.</summary>
public unsafe struct GruTape
{
    /// <summary>(time, batch, 4H): r, z, n and n's hidden product; backward leaves the products' gradients here.</summary>
    public float* Gates;

    /// <summary>
    /// (time + 1, batch, H): the states, in time's order. Slot 0 is the caller's initial state (the last slot when the
    /// run is reversed); the state after the whole run is at the other end.
    /// </summary>
    public float* States;

    /// <summary>Room for products on their way, of <see cref="SequenceShape.RoomSize"/> floats with 3 gates.</summary>
    public float* Room;
}

/// <summary>
/// A GRU layer over (time, batch, features). Forward, step by step: the products x·W_ihᵀ and h·W_hhᵀ,
/// each in k's ascending order (<see cref="Gemm"/>), then <see cref="GruCell"/>. Backward from
/// the last step: the state's gradient is the products of n's hidden gradient with its rows of W_hh, joined by fma to
/// (those of r's and z's with theirs + what the cell passes on). The rest is as in <see cref="Lstm"/>.
/// </summary>
public static unsafe class Gru
{
    /// <summary>Runs all steps forward; parameters as in <see cref="Lstm.Forward"/>.</summary>
    /// <param name="shape">The sizes.</param>
    /// <param name="x">(time, batch, inputs), rows of <paramref name="strideX"/> floats.</param>
    /// <param name="strideX">Floats from one row of x to the next.</param>
    /// <param name="weights">The layer's weights.</param>
    /// <param name="lengths">(batch): the sequences' lengths, 0 to time; null when none has padding.</param>
    /// <param name="tape">Its initial state is read, all else is written.</param>
    /// <param name="y">(time, batch, H), rows of <paramref name="strideY"/> floats: the states, +0 at padding; may be null.</param>
    /// <param name="strideY">Floats from one row of y to the next.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Forward(
        in SequenceShape shape,
        float* x,
        nint strideX,
        in RecurrentWeights weights,
        int* lengths,
        in GruTape tape,
        float* y,
        nint strideY,
        KernelPool? pool = null)
    {
        Check(in shape, x, strideX, in weights, lengths, in tape, new(y, Guard.Extent(shape.Rows, strideY, shape.Hidden)), default);
        nint h = shape.Hidden;
        for (int order = 0; order < shape.Time; order++)
        {
            GruStep step = Step(in shape, shape.Step(order), lengths, in tape, strideY);
            if (y != null) step.Output = y + ((nint)step.Time * shape.Batch * strideY);
            step.Products = SequenceProducts.Step(in shape, order, x, strideX, step.PreviousState, in weights, 3 * h, tape.Room, pool);
            GruCell.Forward(in step, pool);
        }
    }

    /// <summary>Runs all steps backward; parameters as in <see cref="Lstm.Backward"/>.</summary>
    /// <exception cref="ArgumentException">The shards are of another batch.</exception>
    /// <param name="shape">The sizes.</param>
    /// <param name="x">As it was forward.</param>
    /// <param name="strideX">Floats from one row of x to the next.</param>
    /// <param name="weights">As they were forward.</param>
    /// <param name="lengths">As they were forward.</param>
    /// <param name="tape">What forward left; the gates are overwritten.</param>
    /// <param name="dY">(time, batch, H), rows of <paramref name="strideDY"/> floats: the outputs' gradient; may be null.</param>
    /// <param name="strideDY">Floats from one row of dY to the next.</param>
    /// <param name="dState">(batch, H): the gradient of the state after the run going in, of the initial state going out.</param>
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
        in GruTape tape,
        float* dY,
        nint strideDY,
        float* dState,
        float* dX,
        nint strideDX,
        SequenceLeaves leaves,
        in RecurrentGradients gradients,
        KernelPool? pool = null)
    {
        Floats dInputs = new(dX, Guard.Extent(shape.Rows, strideDX, shape.Inputs));
        Check(in shape, x, strideX, in weights, lengths, in tape, dInputs, new(dState, shape.StateSize));
        if (gradients.Any) leaves.Require(in shape);
        nint h = shape.Hidden;
        for (int order = shape.Time - 1; order >= 0; order--)
        {
            GruStep step = Step(in shape, shape.Step(order), lengths, in tape, strideDY);
            if (dY != null) step.OutputGradient = dY + ((nint)step.Time * shape.Batch * strideDY);
            step.StateGradient = dState;
            GruCell.Backward(in step, pool);
            SequenceProducts.StateGradient(in shape, step.Gates, 4 * h, in weights, 0, 2 * h, dState, pool);
            SequenceProducts.StateGradient(in shape, step.Gates + (3 * h), 4 * h, in weights, 2 * h, h, dState, pool);
            SequenceProducts.InputGradient(in shape, order, tape.Gates, 4 * h, 3 * h, in weights, dX, strideDX, pool);
        }
        SequenceProducts.InputWeights(in shape, tape.Gates, 4 * h, 3 * h, x, strideX, leaves, in gradients, pool);
        SequenceProducts.RecurrentWeights(in shape, tape.Gates, 4 * h, 0, 2 * h, tape.States, leaves, in gradients, gradients.InputBias, pool);
        SequenceProducts.RecurrentWeights(in shape, tape.Gates + (3 * h), 4 * h, 2 * h, h, tape.States, leaves, in gradients, null, pool);
    }

    private static GruStep Step(in SequenceShape shape, int time, int* lengths, in GruTape tape, nint stride)
    {
        nint size = shape.StateSize;
        return new GruStep
        {
            Rows = shape.Batch,
            Hidden = shape.Hidden,
            Gates = tape.Gates + (time * 4 * size),
            PreviousState = tape.States + (shape.Before(time) * size),
            State = tape.States + (shape.After(time) * size),
            StrideOutput = stride,
            Lengths = lengths,
            Time = time,
        };
    }

    private static void Check(
        in SequenceShape shape, float* x, nint strideX, in RecurrentWeights weights, int* lengths, in GruTape tape, Floats result, Floats dState)
    {
        SequenceProducts.Check(in shape, x, strideX, in weights, lengths, tape.Gates, tape.States);
        weights.Packed?.Require(3, in shape);
        Guard.NotNull(tape.Room, shape.Rows, nameof(tape.Room));
        nint slots = (shape.Time + 1) * shape.StateSize;
        Guard.Apart(
            [new(tape.Gates, 4 * shape.Time * shape.StateSize), new(tape.States, slots), new(tape.Room, shape.RoomSize(3)), dState],
            [new(x, Guard.Extent(shape.Rows, strideX, shape.Inputs)), result]);
    }
}
