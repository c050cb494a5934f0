namespace DistTrain.Kernels;

/// <summary>The matrix products of recurrent layers, all in one place.</summary>
internal static unsafe class SequenceProducts
{
    /// <summary>
    /// The products of one step with input and state, in <paramref name="room"/>. Those with the input are made for
    /// several steps at once where the batch is small. Room is small enough to stay in the L2 cache.
    /// </summary>
    public static GateProducts Step(
        in SequenceShape shape, int order, float* x, nint strideX, float* state, in RecurrentWeights weights, nint columns, float* room, KernelPool? pool)
    {
        int together = shape.StepsTogether;
        nint size = shape.Batch * columns;
        int place = order % together;
        int steps = Math.Min(together, shape.Time - (order - place));
        // In time's order, whichever way the run goes.
        int first = shape.Reverse ? shape.Step(order - place + steps - 1) : order - place;
        if (place == 0)
        {
            float* rows = x + ((nint)first * shape.Batch * strideX);
            Multiply(rows, strideX, steps * shape.Batch, shape.Inputs, weights.Input, weights.Packed?.InputForward, columns, room, pool);
        }
        float* hidden = room + (together * size);
        Multiply(state, shape.Hidden, shape.Batch, shape.Hidden, weights.Recurrent, weights.Packed?.Forward, columns, hidden, pool);
        return new GateProducts
        {
            Input = room + ((shape.Step(order) - first) * size),
            State = hidden,
            InputBias = weights.InputBias,
            StateBias = weights.RecurrentBias,
        };
    }

    /// <summary>dState = dGates·W[row:row + columns] + dState for one step; a row from 0 on, or a GRU's last H.</summary>
    public static void StateGradient(
        in SequenceShape shape, float* dGates, nint strideGates, in RecurrentWeights weights, nint row, nint columns, float* dState, KernelPool? pool)
    {
        nint h = shape.Hidden;
        if ((row == 0 ? weights.Packed?.Backward : weights.Packed?.BackwardLast) is { } packed)
            Gemm.Multiply(MatrixForm.Normal, shape.Batch, 1, dGates, strideGates, packed, 1, dState, h, default, pool);
        else
            Gemm.Multiply(
                MatrixForm.Normal, MatrixForm.Normal, shape.Batch, h, columns, 1, dGates, strideGates, weights.Recurrent + (row * h), h, 1, dState, h, default, pool);
    }

    /// <summary>dX = dGates·W for the steps that have their gates' gradients by now, several at once where the batch is small.</summary>
    public static void InputGradient(
        in SequenceShape shape, int order, float* dGates, nint strideGates, nint columns, in RecurrentWeights weights, float* dX, nint strideDX, KernelPool? pool)
    {
        int together = shape.StepsTogether;
        if (dX == null || order % together != 0) return;
        int steps = Math.Min(together, shape.Time - order);
        nint row = (nint)(shape.Reverse ? shape.Step(order + steps - 1) : order) * shape.Batch;
        nint rows = (nint)steps * shape.Batch;
        float* source = dGates + (row * strideGates);
        float* target = dX + (row * strideDX);
        if (weights.Packed is { } packed)
            Gemm.Multiply(MatrixForm.Normal, rows, 1, source, strideGates, packed.InputBackward, 0, target, strideDX, default, pool);
        else
            Gemm.Multiply(
                MatrixForm.Normal, MatrixForm.Normal, rows, shape.Inputs, columns, 1, source, strideGates, weights.Input, shape.Inputs, 0, target, strideDX, default, pool);
    }

    /// <summary>The columns' share of the input weights' and bias's gradients.</summary>
    public static void InputWeights(
        in SequenceShape shape, float* dGates, nint strideGates, nint columns, float* x, nint strideX, SequenceLeaves leaves,
        in RecurrentGradients gradients, KernelPool? pool)
    {
        if (gradients.Input != null)
            SegmentedGemm.WeightGradient(
                dGates, strideGates, x, strideX, columns, shape.Inputs, leaves.Ranges, leaves.Starts, gradients.Input, shape.Inputs, pool);
        if (gradients.InputBias != null)
            SegmentedGemm.ColumnSum(dGates, strideGates, columns, leaves.Ranges, leaves.Starts, gradients.InputBias, pool);
    }

    /// <summary>
    /// Rows [row, row + columns) of the recurrent weights' and bias's gradients, from the states before the steps; the
    /// bias's are <paramref name="same"/> where that is not null.
    /// </summary>
    public static void RecurrentWeights(
        in SequenceShape shape, float* dGates, nint strideGates, nint row, nint columns, float* states, SequenceLeaves leaves,
        in RecurrentGradients gradients, float* same, KernelPool? pool)
    {
        float* before = states + (shape.Before(0) * shape.StateSize);
        if (gradients.Recurrent != null)
            SegmentedGemm.WeightGradient(
                dGates, strideGates, before, shape.Hidden, columns, shape.Hidden, leaves.Ranges, leaves.Starts,
                gradients.Recurrent + (row * shape.Hidden), shape.Hidden, pool);
        if (gradients.RecurrentBias == null) return;
        if (same != null) Rows.Copy(same + row, gradients.RecurrentBias + row, columns);
        else
            SegmentedGemm.ColumnSum(dGates, strideGates, columns, leaves.Ranges, leaves.Starts, gradients.RecurrentBias + row, pool);
    }

    /// <summary>What all drivers check at the door.</summary>
    public static void Check(
        in SequenceShape shape, float* x, nint strideX, in RecurrentWeights weights, int* lengths, float* gates, float* states)
    {
        Guard.Length(shape.Time, nameof(shape.Time));
        Guard.Length(shape.Batch, nameof(shape.Batch));
        Guard.Stride(shape.Hidden, 1, nameof(shape.Hidden));
        Guard.Stride(strideX, shape.Inputs, nameof(strideX));
        Guard.NotNull(x, shape.Rows * shape.Inputs, nameof(x));
        Guard.NotNull(weights.Input, shape.Inputs, nameof(weights.Input));
        Guard.NotNull(weights.Recurrent, 1, nameof(weights.Recurrent));
        Guard.NotNull(gates, shape.Rows, nameof(gates));
        Guard.NotNull(states, 1, nameof(states));
        if (lengths == null) return;
        for (int row = 0; row < shape.Batch; row++)
        {
            if ((uint)lengths[row] > (uint)shape.Time)
                Guard.ThrowSegments($"Sequence {row} has length {lengths[row]}; there are {shape.Time} steps.", nameof(lengths));
        }
    }

    /// <summary>target = rows·Wᵀ, alone: what would follow in the product's end costs less in the cell, which has the result at hand.</summary>
    private static void Multiply(
        float* rows, nint stride, nint count, nint depth, float* weights, PackedMatrix? packed, nint columns, float* target, KernelPool? pool)
    {
        if (packed is not null)
            Gemm.Multiply(MatrixForm.Normal, count, 1, rows, stride, packed, 0, target, columns, default, pool);
        else
            Gemm.Multiply(
                MatrixForm.Normal, MatrixForm.Transposed, count, columns, depth, 1, rows, stride, weights, depth, 0, target, columns, default, pool);
    }
}
