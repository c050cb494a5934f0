using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>The numbers of one SGD step. Each is rounded once to fp32 where the kernel uses it.</summary>
/// <param name="LearningRate">lr.</param>
/// <param name="Momentum">mu; 0 for none, and then there is no state.</param>
/// <param name="WeightDecay">wd: the L2 penalty's factor; 0 skips it.</param>
/// <param name="Nesterov">Looks ahead along the momentum.</param>
public readonly record struct SgdStep(double LearningRate, double Momentum = 0, double WeightDecay = 0, bool Nesterov = false);

/// <summary>
/// Stochastic gradient descent as PyTorch defines it, with fused multiply-adds. Per element:
/// g = G / total; g = wd·w + g; v = mu·v + g; g = mu·v + g for Nesterov, else v; w = w - lr·g.
/// A first step starts from v = +0.
/// </summary>
public static unsafe class SgdKernel
{
    /// <summary>Applies one step in one pass.</summary>
    /// <param name="step">The step's numbers.</param>
    /// <param name="weights">(length): updated.</param>
    /// <param name="momentum">(length): v, updated; null when <see cref="SgdStep.Momentum"/> is 0.</param>
    /// <param name="gradientSums">(length): the sum over the mini-batch, not the mean.</param>
    /// <param name="totalWeight">What the sum is divided by; not 0.</param>
    /// <param name="length">How many parameters.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Update(
        SgdStep step, float* weights, float* momentum, float* gradientSums, float totalWeight, nint length, KernelPool? pool = null) =>
        Update(step, weights, momentum, new SummedGradient(gradientSums, totalWeight), length, pool);

    /// <summary>The same for a gradient in another format, or clipped.</summary>
    /// <param name="step">The step's numbers.</param>
    /// <param name="weights">(length): updated.</param>
    /// <param name="momentum">(length): v, updated; null when <see cref="SgdStep.Momentum"/> is 0.</param>
    /// <param name="gradient">The gradient's sums and their divisor.</param>
    /// <param name="length">How many parameters.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Update(SgdStep step, float* weights, float* momentum, in SummedGradient gradient, nint length, KernelPool? pool = null)
    {
        float rate = -(float)step.LearningRate;
        float mu = (float)step.Momentum;
        float decay = (float)step.WeightDecay;
        var arrays = new UpdateArrays { Weights = weights, First = momentum };
        if (step.Momentum == 0) UpdateTraversal.Run(new Plain(rate, decay), arrays, in gradient, length, pool);
        else UpdateTraversal.Run(new WithMomentum(rate, mu, decay, step.Nesterov), arrays, in gradient, length, pool);
    }

    private readonly struct Plain(float negativeRate, float decay) : IUpdateOperator
    {
        public static int States => 0;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Apply<T>(ref T weight, ref T first, ref T second, ref T third, T gradient)
            where T : struct, ILanes<T>
        {
            if (decay != 0) gradient = T.Fma(T.Broadcast(decay), weight, gradient);
            weight = T.Fma(T.Broadcast(negativeRate), gradient, weight);
        }
    }

    private readonly struct WithMomentum(float negativeRate, float momentum, float decay, bool nesterov) : IUpdateOperator
    {
        public static int States => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Apply<T>(ref T weight, ref T first, ref T second, ref T third, T gradient)
            where T : struct, ILanes<T>
        {
            if (decay != 0) gradient = T.Fma(T.Broadcast(decay), weight, gradient);
            first = T.Fma(T.Broadcast(momentum), first, gradient);
            gradient = nesterov ? T.Fma(T.Broadcast(momentum), first, gradient) : first;
            weight = T.Fma(T.Broadcast(negativeRate), gradient, weight);
        }
    }
}
