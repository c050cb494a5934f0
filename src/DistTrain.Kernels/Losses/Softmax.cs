using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Softmax and log-softmax of the rows of a (rows, classes) array, forward and backward. With m = max x and
/// s = Σ exp(x_i - m) in 16 lanes and the fixed tree (<see cref="Reductions"/>): softmax y_i = exp(x_i - m) / s,
/// log-softmax y_i = (x_i - m) - ln s. Backward, from the output y and the gradient g there: softmax
/// dx_i = y_i·(g_i - Σ fma(g_j, y_j)), log-softmax dx_i = fma(-exp y_i, Σ g_j, g_i), the sums in 16 lanes and the fixed
/// tree. Outputs may be an input itself, or lie apart. Rows are independent of each other.
/// </summary>
public static unsafe class Softmax
{
    private const int GrainElements = 8 * 1024;

    /// <summary>y = softmax of every row of x.</summary>
    public static void Forward(float* x, nint rows, nint classes, float* y, KernelPool? pool = null) =>
        Run(new Kernel { X = x, Y = y, Classes = classes }, rows, pool);

    /// <summary>dx from dy and the softmax y.</summary>
    public static void Backward(float* dy, float* y, nint rows, nint classes, float* dx, KernelPool? pool = null)
    {
        Guard.NotNull(dy, rows, nameof(dy));
        Run(new Kernel { Gradient = dy, X = y, Y = dx, Classes = classes }, rows, pool);
    }

    /// <summary>y = log-softmax of every row of x.</summary>
    public static void LogForward(float* x, nint rows, nint classes, float* y, KernelPool? pool = null) =>
        Run(new Kernel { X = x, Y = y, Classes = classes, Logarithm = true }, rows, pool);

    /// <summary>dx from dy and the log-softmax y.</summary>
    public static void LogBackward(float* dy, float* y, nint rows, nint classes, float* dx, KernelPool? pool = null)
    {
        Guard.NotNull(dy, rows, nameof(dy));
        Run(new Kernel { Gradient = dy, X = y, Y = dx, Classes = classes, Logarithm = true }, rows, pool);
    }

    /// <summary>Rows that are worth a thread.</summary>
    internal static nint Grain(nint classes) => 1 + (GrainElements / classes);

    private static void Run(Kernel kernel, nint rows, KernelPool? pool)
    {
        Guard.Length(rows, nameof(rows));
        Guard.Stride(kernel.Classes, 1, "classes");
        Guard.NotNull(kernel.X, rows, "x");
        Guard.NotNull(kernel.Y, rows, "y");
        Guard.SameOrApart(kernel.Y, kernel.X, rows * kernel.Classes);
        if (kernel.Gradient != null) Guard.SameOrApart(kernel.Y, kernel.Gradient, rows * kernel.Classes);
        RangeRunner.Run(kernel, rows, 1, Grain(kernel.Classes), pool);
    }

    private struct Kernel : IRangeKernel
    {
        /// <summary>The input, or for a backward pass the output.</summary>
        public float* X;

        /// <summary>Null for a forward pass.</summary>
        public float* Gradient;

        public float* Y;
        public nint Classes;
        public bool Logarithm;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            for (nint row = begin; row < end; row++)
            {
                float* x = X + (row * Classes);
                float* y = Y + (row * Classes);
                if (Gradient != null) BackwardRow<T>(Gradient + (row * Classes), x, y);
                else ForwardRow<T>(x, y);
            }
        }

        [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
        private readonly void ForwardRow<T>(float* x, float* y)
            where T : struct, ILanes<T>
        {
            float largest = SoftmaxRow.Max<T>(x, Classes);
            float sum = SoftmaxRow.Exponentials<T>(x, Logarithm ? null : y, Classes, largest);
            if (!Logarithm)
            {
                SoftmaxRow.Divide<T>(y, y, Classes, sum);
                return;
            }
            T max = T.Broadcast(largest);
            T logarithm = LaneMath.Log(T.Broadcast(sum));
            nint i = 0;
            for (; i <= Classes - 16; i += 16) T.Store(y + i, T.Load(x + i) - max - logarithm);
            int rest = (int)(Classes - i);
            if (rest > 0) T.StorePartial(y + i, T.LoadPartial(x + i, rest) - max - logarithm, rest);
        }

        [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
        private readonly void BackwardRow<T>(float* g, float* y, float* dx)
            where T : struct, ILanes<T>
        {
            T sum = T.Zero;
            nint i = 0;
            for (; i <= Classes - 16; i += 16) sum = Logarithm ? sum + T.Load(g + i) : T.Fma(T.Load(g + i), T.Load(y + i), sum);
            int rest = (int)(Classes - i);
            if (rest > 0)
            {
                T last = T.LoadPartial(g + i, rest);
                sum = Logarithm ? sum + last : T.Fma(last, T.LoadPartial(y + i, rest), sum);
            }
            sum = T.SumInAll(sum);
            for (i = 0; i <= Classes - 16; i += 16) T.Store(dx + i, One(T.Load(g + i), T.Load(y + i), sum));
            if (rest > 0) T.StorePartial(dx + i, One(T.LoadPartial(g + i, rest), T.LoadPartial(y + i, rest), sum), rest);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly T One<T>(T g, T y, T sum)
            where T : struct, ILanes<T> =>
            Logarithm ? T.Fma(T.Zero - LaneMath.Exp(y), sum, g) : y * (g - sum);
    }
}
