namespace DistTrain.Kernels;

/// <summary>
/// Softmax and its cross-entropy, row by row. Of a row x of c values: m = max x; e_i = exp(x_i - m); s = Σ e_i in 16
/// lanes and the fixed tree (<see cref="Reductions"/>); p_i = e_i / s; loss = ln s - (x_label - m).
/// Rows are independent: any part of a batch gives the same bits.
/// </summary>
public static unsafe class SoftmaxCrossEntropy
{
    private const int GrainElements = 8 * 1024;

    /// <summary>Loss and gradient of every row, as sums: nothing is divided by the number of rows.</summary>
    /// <param name="logits">(rows, classes), row-major.</param>
    /// <param name="labels">(rows): the true class of each row.</param>
    /// <param name="rows">How many examples.</param>
    /// <param name="classes">How many classes, at least 1.</param>
    /// <param name="losses">(rows): receives each row's loss.</param>
    /// <param name="dLogits">(rows, classes): receives softmax - onehot(label); may be the logits; null for a forward pass alone.</param>
    /// <param name="correct">(rows): receives 1 where the first of the largest logits is the label, else 0; may be null.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentOutOfRangeException">A label is no class.</exception>
    public static void Run(
        float* logits, int* labels, nint rows, nint classes, float* losses, float* dLogits, byte* correct, KernelPool? pool = null)
    {
        Check(logits, rows, classes);
        Guard.NotNull(labels, rows, nameof(labels));
        Guard.NotNull(losses, rows, nameof(losses));
        if (dLogits != null) Guard.SameOrApart(dLogits, logits, rows * classes);
        for (nint row = 0; row < rows; row++)
        {
            if ((uint)labels[row] >= (ulong)classes) Guard.ThrowLabel(row, labels[row], (int)classes);
        }
        var kernel = new Kernel
        {
            Logits = logits,
            Labels = labels,
            Classes = classes,
            Losses = losses,
            Output = dLogits,
            Correct = correct,
        };
        RangeRunner.Run(kernel, rows, 1, Grain(classes), pool);
    }

    /// <summary>p = softmax of every row of x, both (rows, classes); p may be x.</summary>
    public static void Probabilities(float* x, nint rows, nint classes, float* p, KernelPool? pool = null)
    {
        Check(x, rows, classes);
        Guard.NotNull(p, rows, nameof(p));
        Guard.SameOrApart(p, x, rows * classes);
        RangeRunner.Run(new Kernel { Logits = x, Classes = classes, Output = p }, rows, 1, Grain(classes), pool);
    }

    private static nint Grain(nint classes) => 1 + (GrainElements / classes);

    private static void Check(float* x, nint rows, nint classes)
    {
        Guard.Length(rows, nameof(rows));
        Guard.Stride(classes, 1, nameof(classes));
        Guard.NotNull(x, rows, nameof(x));
    }

    private struct Kernel : IRangeKernel
    {
        public float* Logits;
        public int* Labels;
        public nint Classes;
        public float* Losses;
        public float* Output;
        public byte* Correct;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            for (nint row = begin; row < end; row++) Row<T>(row);
        }

        private readonly void Row<T>(nint row)
            where T : struct, ILanes<T>
        {
            float* x = Logits + (row * Classes);
            float* output = Output == null ? null : Output + (row * Classes);
            float max = Reductions.Max<T>(x, Classes);
            float atLabel = 0;
            if (Labels != null)
            {
                int label = Labels[row];
                atLabel = x[label];
                // Before the output, which may be the logits themselves, is written.
                if (Correct != null) Correct[row] = IsFirstMax(x, label, max) ? (byte)1 : (byte)0;
            }
            float sum = Exponentials<T>(x, output, Classes, max);
            if (Labels != null) Losses[row] = Scalars.Log<T>(sum) - (atLabel - max);
            if (output == null) return;
            Normalise<T>(output, Classes, sum);
            if (Labels != null) output[Labels[row]] -= 1f;
        }

        private static bool IsFirstMax(float* x, int label, float max)
        {
            if (x[label] != max) return false;
            for (int i = 0; i < label; i++)
                if (x[i] == max) return false;
            return true;
        }

        /// <summary>e_i = exp(x_i - max), kept in <paramref name="e"/> unless that is null; gives their sum.</summary>
        private static float Exponentials<T>(float* x, float* e, nint length, float max)
            where T : struct, ILanes<T>
        {
            T shift = T.Broadcast(max);
            T sum = T.Zero;
            nint i = 0;
            for (; i <= length - 16; i += 16)
            {
                T v = LaneMath.Exp(T.Load(x + i) - shift);
                if (e != null) T.Store(e + i, v);
                sum += v;
            }
            if (i < length)
            {
                int rest = (int)(length - i);
                T v = T.And(LaneMath.Exp(T.LoadPartial(x + i, rest) - shift), T.FirstLanes(rest));
                if (e != null) T.StorePartial(e + i, v, rest);
                sum += v;
            }
            return T.Sum(sum);
        }

        private static void Normalise<T>(float* e, nint length, float sum)
            where T : struct, ILanes<T>
        {
            T divisor = T.Broadcast(sum);
            nint i = 0;
            for (; i <= length - 16; i += 16) T.Store(e + i, T.Load(e + i) / divisor);
            int rest = (int)(length - i);
            if (rest > 0) T.StorePartial(e + i, T.LoadPartial(e + i, rest) / divisor, rest);
        }
    }
}
