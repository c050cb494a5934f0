using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>The numbers of one Adam or AdamW step. What is derived from them is computed in double and rounded once to fp32.</summary>
/// <param name="LearningRate">lr.</param>
/// <param name="Beta1">The first moment's decay.</param>
/// <param name="Beta2">The second moment's decay.</param>
/// <param name="Epsilon">Added to the denominator.</param>
/// <param name="WeightDecay">wd; 0 skips it.</param>
/// <param name="BiasCorrection1">1 - beta1^t for step t from 1 (<see cref="ScalarMath"/>).</param>
/// <param name="BiasCorrection2">1 - beta2^t.</param>
/// <param name="Decoupled">AdamW: the decay shrinks the weights; else it is an L2 penalty in the gradient.</param>
public readonly record struct AdamStep(
    double LearningRate,
    double Beta1,
    double Beta2,
    double Epsilon,
    double WeightDecay,
    double BiasCorrection1,
    double BiasCorrection2,
    bool Decoupled);

/// <summary>
/// Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019) in PyTorch's form. Per element: g = G / total;
/// L2: g = fma(wd, w, g); decoupled: w = w·(1 - lr·wd); m = fma(1 - beta1, g - m, m); v = fma(beta2, v, (1 - beta2)·(g·g));
/// w = fma(-lr/bc1, m / fma(√v, 1/√bc2, eps), w).
/// </summary>
public static unsafe class AdamKernel
{
    /// <summary>Applies one step in one pass.</summary>
    /// <param name="step">The step's numbers.</param>
    /// <param name="weights">(length): updated.</param>
    /// <param name="firstMoment">(length): m, updated; +0 before the first step.</param>
    /// <param name="secondMoment">(length): v, updated; +0 before the first step.</param>
    /// <param name="gradientSums">(length): the sum over the mini-batch, not the mean.</param>
    /// <param name="totalWeight">What the sum is divided by; not 0.</param>
    /// <param name="length">How many parameters.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Update(
        AdamStep step,
        float* weights,
        float* firstMoment,
        float* secondMoment,
        float* gradientSums,
        float totalWeight,
        nint length,
        KernelPool? pool = null) =>
        Update(step, weights, firstMoment, secondMoment, new SummedGradient(gradientSums, totalWeight), length, pool);

    /// <summary>The same for a gradient in another format, or clipped.</summary>
    /// <param name="step">The step's numbers.</param>
    /// <param name="weights">(length): updated.</param>
    /// <param name="firstMoment">(length): m, updated; +0 before the first step.</param>
    /// <param name="secondMoment">(length): v, updated; +0 before the first step.</param>
    /// <param name="gradient">The gradient's sums and their divisor.</param>
    /// <param name="length">How many parameters.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Update(
        AdamStep step, float* weights, float* firstMoment, float* secondMoment, in SummedGradient gradient, nint length, KernelPool? pool = null) =>
        UpdateTraversal.Run(
            new Operator(step), new UpdateArrays { Weights = weights, First = firstMoment, Second = secondMoment }, in gradient, length, pool);

    /// <summary>The scalars of a step as the kernel uses them; the reference shares them.</summary>
    internal readonly struct Operator(AdamStep step) : IUpdateOperator
    {
        public readonly float Penalty = step.Decoupled ? 0 : (float)step.WeightDecay;
        public readonly float Shrink = step.Decoupled ? (float)(1 - (step.LearningRate * step.WeightDecay)) : 1;
        public readonly float Gain1 = (float)(1 - step.Beta1);
        public readonly float Beta2 = (float)step.Beta2;
        public readonly float Gain2 = (float)(1 - step.Beta2);
        public readonly float InverseRootCorrection2 = (float)(1 / Math.Sqrt(step.BiasCorrection2));
        public readonly float Epsilon = (float)step.Epsilon;
        public readonly float NegativeStep = -(float)(step.LearningRate / step.BiasCorrection1);

        public static int States => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Apply<T>(ref T weight, ref T first, ref T second, ref T third, T gradient)
            where T : struct, ILanes<T>
        {
            if (Penalty != 0) gradient = T.Fma(T.Broadcast(Penalty), weight, gradient);
            if (Shrink != 1) weight *= T.Broadcast(Shrink);
            first = T.Fma(T.Broadcast(Gain1), gradient - first, first);
            second = T.Fma(T.Broadcast(Beta2), second, T.Broadcast(Gain2) * (gradient * gradient));
            T denominator = T.Fma(T.Sqrt(second), T.Broadcast(InverseRootCorrection2), T.Broadcast(Epsilon));
            weight = T.Fma(T.Broadcast(NegativeStep), first / denominator, weight);
        }
    }
}
