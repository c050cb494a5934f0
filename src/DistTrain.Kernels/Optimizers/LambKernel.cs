using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// LAMB (You et al., 2020): Adam's direction with a rate for each tensor, in two passes with the norms between them.
/// Per element: g = G / total; m = fma(1 - beta1, g - m, m); v = fma(beta2, v, (1 - beta2)·(g·g));
/// r = fma(wd, w, (m / fma(√v, 1/√bc2, eps))·(1/bc1)); then w = fma(-(lr·trust), r, w). The decay is always decoupled.
/// </summary>
public static unsafe class LambKernel
{
    /// <summary>The first pass: updates the moments and writes the direction.</summary>
    /// <param name="step">The step's numbers; <see cref="AdamStep.Decoupled"/> is not looked at.</param>
    /// <param name="weights">(length): read.</param>
    /// <param name="firstMoment">(length): m, updated; +0 before the first step.</param>
    /// <param name="secondMoment">(length): v, updated; +0 before the first step.</param>
    /// <param name="direction">(length): r, overwritten.</param>
    /// <param name="gradient">The gradient's sums and their divisor.</param>
    /// <param name="length">How many parameters.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Direction(
        AdamStep step,
        float* weights,
        float* firstMoment,
        float* secondMoment,
        float* direction,
        in SummedGradient gradient,
        nint length,
        KernelPool? pool = null) =>
        UpdateTraversal.Run(
            new Operator(step),
            new UpdateArrays { Weights = weights, First = firstMoment, Second = secondMoment, Third = direction },
            in gradient,
            length,
            pool);

    /// <summary>A tensor's trust ratio, in double: ‖w‖ / ‖r‖, or 1 where either is zero.</summary>
    /// <param name="weightSquares">The weights' sum of squares (<see cref="BlockNorms.Tensor"/>).</param>
    /// <param name="directionSquares">The direction's sum of squares.</param>
    public static double TrustRatio(double weightSquares, double directionSquares) =>
        weightSquares == 0 || directionSquares == 0 ? 1 : Math.Sqrt(weightSquares) / Math.Sqrt(directionSquares);

    /// <summary>The second pass: moves the weights of a tensor, or of a part of one.</summary>
    /// <param name="step">The step's numbers.</param>
    /// <param name="trust">The whole tensor's <see cref="TrustRatio"/>.</param>
    /// <param name="weights">(length): updated.</param>
    /// <param name="direction">(length): what the first pass left.</param>
    /// <param name="length">How many parameters.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Apply(AdamStep step, double trust, float* weights, float* direction, nint length, KernelPool? pool = null) =>
        Elementwise.ScaleAdd(-(float)(step.LearningRate * trust), direction, weights, weights, length, pool);

    private readonly struct Operator(AdamStep step) : IUpdateOperator
    {
        private readonly float _gain1 = (float)(1 - step.Beta1);
        private readonly float _beta2 = (float)step.Beta2;
        private readonly float _gain2 = (float)(1 - step.Beta2);
        private readonly float _inverseRootCorrection2 = (float)(1 / Math.Sqrt(step.BiasCorrection2));
        private readonly float _inverseCorrection1 = (float)(1 / step.BiasCorrection1);
        private readonly float _epsilon = (float)step.Epsilon;
        private readonly float _decay = (float)step.WeightDecay;

        public static int States => 3;

        public static bool ChangesWeights => false;

        public static bool LastStateIsOutput => true;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Apply<T>(ref T weight, ref T first, ref T second, ref T third, T gradient)
            where T : struct, ILanes<T>
        {
            first = T.Fma(T.Broadcast(_gain1), gradient - first, first);
            second = T.Fma(T.Broadcast(_beta2), second, T.Broadcast(_gain2) * (gradient * gradient));
            T denominator = T.Fma(T.Sqrt(second), T.Broadcast(_inverseRootCorrection2), T.Broadcast(_epsilon));
            T direction = first / denominator * T.Broadcast(_inverseCorrection1);
            third = _decay == 0 ? direction : T.Fma(T.Broadcast(_decay), weight, direction);
        }
    }
}
