namespace DistTrain.Kernels;

/// <summary>
/// Squared error, row by row: loss = Σ d·d with d = p - t, in 16 lanes with fused multiply-adds and the fixed tree
/// (<see cref="Reductions"/>); gradient = 2·d. Sums: nothing is divided by rows or columns.
/// </summary>
public static unsafe class SquaredError
{
    /// <summary>Loss and gradient of every row.</summary>
    /// <param name="prediction">(rows, columns), row-major.</param>
    /// <param name="target">(rows, columns).</param>
    /// <param name="rows">How many examples.</param>
    /// <param name="columns">How many outputs each has.</param>
    /// <param name="losses">(rows): receives each row's loss.</param>
    /// <param name="dPrediction">(rows, columns): receives 2·(p - t); may be the prediction; null for a forward pass alone.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Run(
        float* prediction, float* target, nint rows, nint columns, float* losses, float* dPrediction, KernelPool? pool = null) =>
        LossTraversal.Run(default(SquaredErrorOperator), prediction, target, rows, columns, losses, dPrediction, pool);
}
