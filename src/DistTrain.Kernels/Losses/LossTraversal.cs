using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>The formula of a loss that compares outputs with targets one by one.</summary>
internal interface ILossOperator
{
    /// <summary>The sum with the loss of these elements in it.</summary>
    T Add<T>(T prediction, T target, T sum)
        where T : struct, IArithmetic<T>;

    /// <summary>The derivative of an element's loss by its prediction.</summary>
    T Gradient<T>(T prediction, T target)
        where T : struct, IArithmetic<T>;
}

/// <summary>
/// Losses of rows whose elements stand for themselves: each row's sum in 16 lanes and the fixed tree
/// (<see cref="Reductions"/>). Rows are independent of each other.
/// </summary>
internal static unsafe class LossTraversal
{
    public static void Run<TOperator>(
        TOperator op, float* prediction, float* target, nint rows, nint columns, float* losses, float* dPrediction, KernelPool? pool)
        where TOperator : unmanaged, ILossOperator
    {
        Guard.Length(rows, nameof(rows));
        Guard.Stride(columns, 1, nameof(columns));
        Guard.NotNull(prediction, rows, nameof(prediction));
        Guard.NotNull(target, rows, nameof(target));
        Guard.NotNull(losses, rows, nameof(losses));
        nint size = rows * columns;
        if (dPrediction != null)
        {
            Guard.SameOrApart(dPrediction, prediction, size);
            Guard.SameOrApart(dPrediction, target, size);
        }
        Guard.Apart([new(losses, rows)], [new(prediction, size), new(target, size), new(dPrediction, size)]);
        var kernel = new Kernel<TOperator> { Operator = op, Prediction = prediction, Target = target, Columns = columns, Losses = losses, Gradient = dPrediction };
        RangeRunner.Run(kernel, rows, 1, 1 + (Traversal.Grain / columns), pool);
    }

    private struct Kernel<TOperator> : IRangeKernel
        where TOperator : unmanaged, ILossOperator
    {
        public TOperator Operator;
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
                Losses[row] = Row<T>(Operator, Prediction + offset, Target + offset, Gradient == null ? null : Gradient + offset, Columns);
            }
        }

        [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
        private static float Row<T>(TOperator op, float* prediction, float* target, float* gradient, nint length)
            where T : struct, ILanes<T>
        {
            T sum = T.Zero;
            nint i = 0;
            for (; i <= length - 16; i += 16)
            {
                T p = T.Load(prediction + i), t = T.Load(target + i);
                sum = op.Add(p, t, sum);
                if (gradient != null) T.Store(gradient + i, op.Gradient(p, t));
            }
            if (i < length)
            {
                int rest = (int)(length - i);
                T p = T.LoadPartial(prediction + i, rest), t = T.LoadPartial(target + i, rest);
                // The loss of nothing need not be 0.
                sum = T.Select(T.FirstLanes(rest), op.Add(p, t, sum), sum);
                if (gradient != null) T.StorePartial(gradient + i, op.Gradient(p, t), rest);
            }
            return T.Sum(sum);
        }
    }
}
