namespace DistTrain.Kernels;

/// <summary>
/// Losses that compare each output p with its target t. A row's loss is its elements' sum, in 16 lanes and the fixed tree
/// (<see cref="Reductions"/>); nothing is divided by rows or columns. Predictions, targets and gradients are
/// (rows, columns), row-major, losses (rows); the gradient may be the prediction or the target, or null for a forward pass
/// alone; no pool means the caller alone. With d = p - t:
/// </summary>
public static unsafe class ElementLosses
{
    /// <summary>loss = Σ fma(d / 2, d), gradient d.</summary>
    public static void HalfSquared(
        float* prediction, float* target, nint rows, nint columns, float* losses, float* dPrediction, KernelPool? pool = null) =>
        LossTraversal.Run(default(HalfSquaredErrorOperator), prediction, target, rows, columns, losses, dPrediction, pool);

    /// <summary>loss = Σ |d|, gradient the sign of d, 0 at 0.</summary>
    public static void Absolute(
        float* prediction, float* target, nint rows, nint columns, float* losses, float* dPrediction, KernelPool? pool = null) =>
        LossTraversal.Run(default(AbsoluteErrorOperator), prediction, target, rows, columns, losses, dPrediction, pool);

    /// <summary>
    /// Huber (1964): d²/2 where |d| is at most delta, else delta·(|d| - delta/2). With g = d cut to ±delta, the gradient,
    /// loss = Σ fma(g, fma(-1/2, g, d)).
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">delta is not above 0.</exception>
    public static void Huber(
        float* prediction, float* target, nint rows, nint columns, float delta, float* losses, float* dPrediction, KernelPool? pool = null)
    {
        if (!(delta > 0)) throw new ArgumentOutOfRangeException(nameof(delta), delta, $"delta is {delta}; it must be above 0.");
        LossTraversal.Run(new HuberOperator(delta), prediction, target, rows, columns, losses, dPrediction, pool);
    }

    /// <summary>
    /// Binary cross-entropy of logits p and probabilities t: loss = Σ fma(-p, t, max(p, 0)) + ln(1 + e^-|p|),
    /// gradient sigmoid(p) - t.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">A target is not in [0, 1].</exception>
    public static void BinaryCrossEntropy(
        float* prediction, float* target, nint rows, nint columns, float* losses, float* dPrediction, KernelPool? pool = null)
    {
        for (nint i = 0; target != null && i < rows * columns; i++)
        {
            if (!(target[i] is >= 0 and <= 1)) Guard.ThrowTarget(i / columns, target[i], "a probability from 0 to 1");
        }
        LossTraversal.Run(default(BinaryCrossEntropyOperator), prediction, target, rows, columns, losses, dPrediction, pool);
    }

    /// <summary>loss = Σ max(0, fma(-t, p, margin)) for targets of ±1, gradient -t where the parenthesis is above 0, else +0.</summary>
    public static void Hinge(
        float* prediction, float* target, nint rows, nint columns, float margin, float* losses, float* dPrediction, KernelPool? pool = null) =>
        LossTraversal.Run(new HingeOperator(margin), prediction, target, rows, columns, losses, dPrediction, pool);
}
