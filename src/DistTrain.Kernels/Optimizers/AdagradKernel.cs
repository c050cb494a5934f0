using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>The numbers of one Adagrad step. Each is rounded once to fp32 where the kernel uses it.</summary>
/// <param name="LearningRate">lr, its decay over steps already applied.</param>
/// <param name="Epsilon">Added to the denominator.</param>
/// <param name="WeightDecay">wd: the L2 penalty's factor; 0 skips it.</param>
public readonly record struct AdagradStep(double LearningRate, double Epsilon = 1e-10, double WeightDecay = 0);

/// <summary>
/// Adagrad (Duchi et al., 2011) in PyTorch's form. Per element: g = G / total; g = fma(wd, w, g); v = fma(g, g, v);
/// w = fma(-lr, g / (√v + eps), w). v starts from the caller's initial value.
/// </summary>
public static unsafe class AdagradKernel
{
    /// <summary>Applies one step in one pass.</summary>
    /// <param name="step">The step's numbers.</param>
    /// <param name="weights">(length): updated.</param>
    /// <param name="squares">(length): v, updated.</param>
    /// <param name="gradient">The gradient's sums and their divisor.</param>
    /// <param name="length">How many parameters.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Update(AdagradStep step, float* weights, float* squares, in SummedGradient gradient, nint length, KernelPool? pool = null) =>
        UpdateTraversal.Run(new Operator(step), new UpdateArrays { Weights = weights, First = squares }, in gradient, length, pool);

    private readonly struct Operator(AdagradStep step) : IUpdateOperator
    {
        private readonly float _negativeRate = -(float)step.LearningRate;
        private readonly float _epsilon = (float)step.Epsilon;
        private readonly float _penalty = (float)step.WeightDecay;

        public static int States => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Apply<T>(ref T weight, ref T first, ref T second, ref T third, T gradient)
            where T : struct, ILanes<T>
        {
            if (_penalty != 0) gradient = T.Fma(T.Broadcast(_penalty), weight, gradient);
            first = T.Fma(gradient, gradient, first);
            weight = T.Fma(T.Broadcast(_negativeRate), gradient / (T.Sqrt(first) + T.Broadcast(_epsilon)), weight);
        }
    }
}
