using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>The numbers of one LARS step.</summary>
/// <param name="LearningRate">lr.</param>
/// <param name="Momentum">mu.</param>
/// <param name="WeightDecay">wd: the L2 penalty's factor.</param>
/// <param name="TrustCoefficient">eta.</param>
/// <param name="Epsilon">Added to the trust ratio's denominator.</param>
public readonly record struct LarsStep(
    double LearningRate, double Momentum = 0.9, double WeightDecay = 0, double TrustCoefficient = 1e-3, double Epsilon = 1e-8);

/// <summary>
/// LARS (You et al., 2017): momentum with a rate for each tensor. Per element: g = G / total; g = fma(wd, w, g);
/// v = fma(mu, v, (lr·trust)·g); w = w - v; lr·trust is rounded once to fp32. v starts from +0.
/// </summary>
public static unsafe class LarsKernel
{
    /// <summary>
    /// A tensor's trust ratio, in double: eta·‖w‖ / (‖g‖ + wd·‖w‖ + eps) for the mean gradient g, or 1 where either norm
    /// is zero.
    /// </summary>
    /// <param name="step">The step's numbers.</param>
    /// <param name="weightSquares">The weights' sum of squares (<see cref="BlockNorms.Tensor"/>).</param>
    /// <param name="gradientSquares">The gradient sums' sum of squares.</param>
    /// <param name="totalWeight">What the gradient sums are divided by.</param>
    public static double TrustRatio(LarsStep step, double weightSquares, double gradientSquares, double totalWeight)
    {
        double weights = Math.Sqrt(weightSquares);
        double gradient = Math.Sqrt(gradientSquares) / totalWeight;
        if (weights == 0 || gradient == 0) return 1;
        return step.TrustCoefficient * weights / (gradient + (step.WeightDecay * weights) + step.Epsilon);
    }

    /// <summary>Applies one step to a tensor, or a part of one, in one pass.</summary>
    /// <param name="step">The step's numbers.</param>
    /// <param name="trust">The whole tensor's <see cref="TrustRatio"/>.</param>
    /// <param name="weights">(length): updated.</param>
    /// <param name="momentum">(length): v, updated.</param>
    /// <param name="gradient">The gradient's sums and their divisor.</param>
    /// <param name="length">How many parameters.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Update(
        LarsStep step, double trust, float* weights, float* momentum, in SummedGradient gradient, nint length, KernelPool? pool = null) =>
        UpdateTraversal.Run(new Operator(step, trust), new UpdateArrays { Weights = weights, First = momentum }, in gradient, length, pool);

    private readonly struct Operator(LarsStep step, double trust) : IUpdateOperator
    {
        private readonly float _rate = (float)(step.LearningRate * trust);
        private readonly float _momentum = (float)step.Momentum;
        private readonly float _penalty = (float)step.WeightDecay;

        public static int States => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Apply<T>(ref T weight, ref T first, ref T second, ref T third, T gradient)
            where T : struct, ILanes<T>
        {
            if (_penalty != 0) gradient = T.Fma(T.Broadcast(_penalty), weight, gradient);
            first = T.Fma(T.Broadcast(_momentum), first, T.Broadcast(_rate) * gradient);
            weight -= first;
        }
    }
}
