namespace DistTrain.Kernels;

/// <summary>
/// The multi-class hinge of Weston and Watkins (1999), row by row: with b = margin - x_label and v_i = x_i + b,
/// loss = Σ max(0, v_i) over the classes but the label, in 16 lanes and the fixed tree (<see cref="Reductions"/>); the
/// gradient is 1 where v_i is above 0, else +0, and at the label minus their number. Sums: PyTorch's
/// <c>MultiMarginLoss</c> divides them by the classes.
/// </summary>
public static unsafe class MultiClassHinge
{
    /// <summary>Loss and gradient of every row.</summary>
    /// <param name="scores">(rows, classes), row-major.</param>
    /// <param name="labels">(rows): the true class of each row.</param>
    /// <param name="rows">How many examples.</param>
    /// <param name="classes">How many classes, at least 1.</param>
    /// <param name="margin">How far above the others the label's score should be.</param>
    /// <param name="losses">(rows): receives each row's loss.</param>
    /// <param name="dScores">(rows, classes): receives the gradient; may be the scores; null for a forward pass alone.</param>
    /// <param name="correct">(rows): receives 1 where the first of the largest scores is the label, else 0; may be null.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentOutOfRangeException">A label is no class.</exception>
    public static void Run(
        float* scores, int* labels, nint rows, nint classes, float margin, float* losses, float* dScores, byte* correct, KernelPool? pool = null)
    {
        SoftmaxCrossEntropy.Check(scores, rows, classes, losses, dScores, labels, rows, null, null, correct);
        Guard.NotNull(labels, rows, nameof(labels));
        SoftmaxCrossEntropy.CheckLabels(labels, rows, classes, ignored: null);
        var kernel = new Kernel { Scores = scores, Labels = labels, Classes = classes, Margin = margin, Losses = losses, Gradient = dScores, Correct = correct };
        RangeRunner.Run(kernel, rows, 1, Softmax.Grain(classes), pool);
    }

    private struct Kernel : IRangeKernel
    {
        public float* Scores;
        public int* Labels;
        public nint Classes;
        public float Margin;
        public float* Losses;
        public float* Gradient;
        public byte* Correct;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            for (nint row = begin; row < end; row++) Row<T>(row);
        }

        private readonly void Row<T>(nint row)
            where T : struct, ILanes<T>
        {
            float* x = Scores + (row * Classes);
            float* gradient = Gradient == null ? null : Gradient + (row * Classes);
            int label = Labels[row];
            if (Correct != null) Correct[row] = IsFirstLargest(x, label, Classes) ? (byte)1 : (byte)0;
            T shift = T.Broadcast(Margin - x[label]), sum = T.Zero, count = T.Zero;
            for (nint i = 0; i < Classes; i += 16)
            {
                int length = (int)Math.Min(16, Classes - i);
                T others = T.FirstLanes(length);
                if (label >= i && label < i + 16) others = T.Xor(others, T.Xor(T.FirstLanes((int)(label - i) + 1), T.FirstLanes((int)(label - i))));
                T v = T.And(T.LoadPartial(x + i, length) + shift, others);
                sum += T.Select(T.LessThan(v, T.Zero), T.Zero, v);
                T one = T.And(T.LessThan(T.Zero, v), T.Broadcast(1f));
                count += one;
                if (gradient != null) T.StorePartial(gradient + i, one, length);
            }
            Losses[row] = T.Sum(sum);
            // Whole numbers: exact in any order.
            if (gradient != null) gradient[label] = -T.Sum(count);
        }
    }

    /// <summary>Whether the label's is the first of the largest values and none is NaN.</summary>
    internal static bool IsFirstLargest(float* x, int label, nint length)
    {
        for (nint i = 0; i < length; i++)
        {
            bool below = i < label ? x[i] < x[label] : x[i] <= x[label];
            if (!below) return false;
        }
        return true;
    }
}
