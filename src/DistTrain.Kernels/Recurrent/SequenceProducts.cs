namespace DistTrain.Kernels;

/// <summary>The matrix products of recurrent layers, all in one place.</summary>
internal static unsafe class SequenceProducts
{
    /// <summary>gates[:, 0:columns] = x·Wᵀ + bias for the rows of all steps.</summary>
    public static void Input(
        in SequenceShape shape, float* x, nint strideX, in RecurrentWeights weights, nint columns, float* gates, nint strideGates, KernelPool? pool) =>
        Gemm.Multiply(
            MatrixForm.Normal,
            MatrixForm.Transposed,
            shape.Rows,
            columns,
            shape.Inputs,
            1,
            x,
            strideX,
            weights.Input,
            shape.Inputs,
            0,
            gates,
            strideGates,
            new GemmEpilogue(weights.InputBias),
            pool);

    /// <summary>target = state·Wᵀ + beta·target + bias for one step.</summary>
    public static void Recurrent(
        in SequenceShape shape, float* state, in RecurrentWeights weights, nint columns, float beta, float* target, nint strideTarget, KernelPool? pool) =>
        Gemm.Multiply(
            MatrixForm.Normal,
            MatrixForm.Transposed,
            shape.Batch,
            columns,
            shape.Hidden,
            1,
            state,
            shape.Hidden,
            weights.Recurrent,
            shape.Hidden,
            beta,
            target,
            strideTarget,
            new GemmEpilogue(weights.RecurrentBias),
            pool);

    /// <summary>dState = dGates·W[row:row + columns] + dState for one step.</summary>
    public static void StateGradient(
        in SequenceShape shape, float* dGates, nint strideGates, in RecurrentWeights weights, nint row, nint columns, float* dState, KernelPool? pool) =>
        Gemm.Multiply(
            MatrixForm.Normal,
            MatrixForm.Normal,
            shape.Batch,
            shape.Hidden,
            columns,
            1,
            dGates,
            strideGates,
            weights.Recurrent + (row * shape.Hidden),
            shape.Hidden,
            1,
            dState,
            shape.Hidden,
            default,
            pool);

    /// <summary>dX = dGates·W for the rows of all steps.</summary>
    public static void InputGradient(
        in SequenceShape shape, float* dGates, nint strideGates, nint columns, in RecurrentWeights weights, float* dX, nint strideDX, KernelPool? pool) =>
        Gemm.Multiply(
            MatrixForm.Normal,
            MatrixForm.Normal,
            shape.Rows,
            shape.Inputs,
            columns,
            1,
            dGates,
            strideGates,
            weights.Input,
            shape.Inputs,
            0,
            dX,
            strideDX,
            default,
            pool);

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

    /// <summary>Rows [row, row + columns) of the recurrent weights' and bias's gradients, from the states before the steps.</summary>
    public static void RecurrentWeights(
        in SequenceShape shape, float* dGates, nint strideGates, nint row, nint columns, float* states, SequenceLeaves leaves,
        in RecurrentGradients gradients, KernelPool? pool)
    {
        float* before = states + (shape.Before(0) * shape.StateSize);
        if (gradients.Recurrent != null)
            SegmentedGemm.WeightGradient(
                dGates, strideGates, before, shape.Hidden, columns, shape.Hidden, leaves.Ranges, leaves.Starts,
                gradients.Recurrent + (row * shape.Hidden), shape.Hidden, pool);
        if (gradients.RecurrentBias != null)
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
}
