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
        float* prediction, float* target, nint rows, nint columns, float* losses, float* dPrediction, KernelPool? pool = null)
    {
        Guard.Length(rows, nameof(rows));
        Guard.Stride(columns, 1, nameof(columns));
        Guard.NotNull(prediction, rows, nameof(prediction));
        Guard.NotNull(target, rows, nameof(target));
        Guard.NotNull(losses, rows, nameof(losses));
        if (dPrediction != null)
        {
            Guard.SameOrApart(dPrediction, prediction, rows * columns);
            Guard.SameOrApart(dPrediction, target, rows * columns);
        }
        nint size = rows * columns;
        Guard.Apart([new(losses, rows)], [new(prediction, size), new(target, size), new(dPrediction, size)]);
        var kernel = new Kernel { Prediction = prediction, Target = target, Columns = columns, Losses = losses, Gradient = dPrediction };
        RangeRunner.Run(kernel, rows, 1, 1 + (Traversal.Grain / columns), pool);
    }

    private struct Kernel : IRangeKernel
    {
        public float* Prediction;
        public float* Target;
        public nint Columns;
        public float* Losses;
        public float* Gradient;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            for (nint row = begin; row < end; row++)
            {
                nint offset = row * Columns;
                Losses[row] = Row<T>(Prediction + offset, Target + offset, Gradient == null ? null : Gradient + offset, Columns);
            }
        }

        private static float Row<T>(float* p, float* t, float* gradient, nint length)
            where T : struct, ILanes<T>
        {
            T sum = T.Zero;
            nint i = 0;
            for (; i <= length - 16; i += 16)
            {
                T d = T.Load(p + i) - T.Load(t + i);
                sum = T.Fma(d, d, sum);
                if (gradient != null) T.Store(gradient + i, d + d);
            }
            if (i < length)
            {
                int rest = (int)(length - i);
                T d = T.LoadPartial(p + i, rest) - T.LoadPartial(t + i, rest);
                sum = T.Fma(d, d, sum);
                if (gradient != null) T.StorePartial(gradient + i, d + d, rest);
            }
            return T.Sum(sum);
        }
    }
}
