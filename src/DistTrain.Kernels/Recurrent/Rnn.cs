namespace DistTrain.Kernels;

/// <summary>What a plain recurrent network's forward run over a batch of sequences leaves for the backward run.</summary>
public unsafe struct RnnTape
{
    /// <summary>(time, batch, H): the activations; backward leaves their pre-activations' gradients here.</summary>
    public float* Gates;

    /// <summary>
    /// (time + 1, batch, H): the states, in time's order. Slot 0 is the caller's initial state (the last slot when the
    /// run is reversed); the state after the whole run is at the other end.
    /// </summary>
    public float* States;

    /// <summary>Room for products on their way, of <see cref="SequenceShape.RoomSize"/> floats with one gate.</summary>
    public float* Room;
}

/// <summary>
/// A plain recurrent layer, tanh or ReLU, over (time, batch, features): the products x·W_ihᵀ and h·W_hhᵀ, then
/// <see cref="RnnCell"/>. The rest is as in <see cref="Lstm"/>.
/// </summary>
public static unsafe class Rnn
{
    /// <summary>Runs all steps forward; parameters as in <see cref="Lstm.Forward"/>.</summary>
    /// <param name="shape">The sizes.</param>
    /// <param name="relu">ReLU, else tanh.</param>
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
        bool relu,
        float* x,
        nint strideX,
        in RecurrentWeights weights,
        int* lengths,
        in RnnTape tape,
        float* y,
        nint strideY,
        KernelPool? pool = null)
    {
        Check(in shape, x, strideX, in weights, lengths, in tape, new(y, Guard.Extent(shape.Rows, strideY, shape.Hidden)), default);
        nint h = shape.Hidden;
        for (int order = 0; order < shape.Time; order++)
        {
            RnnStep step = Step(in shape, relu, shape.Step(order), lengths, in tape, strideY);
            if (y != null) step.Output = y + ((nint)step.Time * shape.Batch * strideY);
            step.Products = SequenceProducts.Step(in shape, order, x, strideX, step.PreviousState, in weights, h, tape.Room, pool);
            RnnCell.Forward(in step, pool);
        }
    }

    /// <summary>Runs all steps backward; parameters as in <see cref="Lstm.Backward"/>.</summary>
    /// <exception cref="ArgumentException">The shards are of another batch.</exception>
    /// <param name="shape">The sizes.</param>
    /// <param name="relu">As it was forward.</param>
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
        bool relu,
        float* x,
        nint strideX,
        in RecurrentWeights weights,
        int* lengths,
        in RnnTape tape,
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
            RnnStep step = Step(in shape, relu, shape.Step(order), lengths, in tape, strideDY);
            if (dY != null) step.OutputGradient = dY + ((nint)step.Time * shape.Batch * strideDY);
            step.StateGradient = dState;
            RnnCell.Backward(in step, pool);
            SequenceProducts.StateGradient(in shape, step.Gates, h, in weights, 0, h, dState, pool);
            SequenceProducts.InputGradient(in shape, order, tape.Gates, h, h, in weights, dX, strideDX, pool);
        }
        SequenceProducts.InputWeights(in shape, tape.Gates, h, h, x, strideX, leaves, in gradients, pool);
        SequenceProducts.RecurrentWeights(in shape, tape.Gates, h, 0, h, tape.States, leaves, in gradients, gradients.InputBias, pool);
    }

    private static RnnStep Step(in SequenceShape shape, bool relu, int time, int* lengths, in RnnTape tape, nint stride)
    {
        nint size = shape.StateSize;
        return new RnnStep
        {
            Rows = shape.Batch,
            Hidden = shape.Hidden,
            Relu = relu,
            Gates = tape.Gates + (time * size),
            PreviousState = tape.States + (shape.Before(time) * size),
            State = tape.States + (shape.After(time) * size),
            StrideOutput = stride,
            Lengths = lengths,
            Time = time,
        };
    }

    private static void Check(
        in SequenceShape shape, float* x, nint strideX, in RecurrentWeights weights, int* lengths, in RnnTape tape, Floats result, Floats dState)
    {
        SequenceProducts.Check(in shape, x, strideX, in weights, lengths, tape.Gates, tape.States);
        weights.Packed?.Require(1, in shape);
        Guard.NotNull(tape.Room, shape.Rows, nameof(tape.Room));
        nint slots = (shape.Time + 1) * shape.StateSize;
        Guard.Apart(
            [new(tape.Gates, shape.Time * shape.StateSize), new(tape.States, slots), new(tape.Room, shape.RoomSize(1)), dState],
            [new(x, Guard.Extent(shape.Rows, strideX, shape.Inputs)), result]);
    }
}
