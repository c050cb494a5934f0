namespace DistTrain.Kernels;

/// <summary>
/// The Kullback-Leibler divergence of softmax(logits) from target probabilities t, row by row:
/// loss = Σ t_i (ln t_i - ln p_i), classes with t_i = 0 counting nothing; gradient = (Σ t) p - t. It is the cross-entropy of
/// <see cref="SoftmaxCrossEntropy.RunSoft"/> plus H = Σ fma(t_i, ln t_i), in 16 lanes and the fixed tree.
/// </summary>
public static unsafe class KlDivergence
{
    /// <summary>Loss and gradient of every row, as sums.</summary>
    /// <param name="logits">(rows, classes), row-major.</param>
    /// <param name="targets">(rows, classes): the probability of each class; apart from the gradient.</param>
    /// <param name="rows">How many examples.</param>
    /// <param name="classes">How many classes, at least 1.</param>
    /// <param name="losses">(rows): receives each row's loss.</param>
    /// <param name="dLogits">(rows, classes): receives the gradient; may be the logits; null for a forward pass alone.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Run(float* logits, float* targets, nint rows, nint classes, float* losses, float* dLogits, KernelPool? pool = null)
    {
        SoftmaxCrossEntropy.RunSoft(logits, targets, rows, classes, default, losses, dLogits, pool);
        RangeRunner.Run(new Kernel { Targets = targets, Classes = classes, Losses = losses }, rows, 1, Softmax.Grain(classes), pool);
    }

    private struct Kernel : IRangeKernel
    {
        public float* Targets;
        public nint Classes;
        public float* Losses;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            for (nint row = begin; row < end; row++)
            {
                float* target = Targets + (row * Classes);
                T sum = T.Zero;
                for (nint i = 0; i < Classes; i += 16)
                {
                    T t = T.LoadPartial(target + i, (int)Math.Min(16, Classes - i));
                    T logarithm = T.Select(T.Equal(t, T.Zero), T.Zero, LaneMath.Log(t));
                    sum = T.Fma(t, logarithm, sum);
                }
                Losses[row] += T.Sum(sum);
            }
        }
    }
}
