using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>The numbers of one Lion step. What is derived from them is computed in double and rounded once to fp32.</summary>
/// <param name="LearningRate">lr.</param>
/// <param name="Beta1">How much of the momentum the direction takes.</param>
/// <param name="Beta2">The momentum's decay.</param>
/// <param name="WeightDecay">wd, decoupled: the weights shrink by lr·wd; 0 skips it.</param>
public readonly record struct LionStep(double LearningRate, double Beta1 = 0.9, double Beta2 = 0.99, double WeightDecay = 0);

/// <summary>
/// Lion (Chen et al., 2023). Per element: g = G / total; w = w·(1 - lr·wd); c = fma(1 - beta1, g - m, m);
/// w = w - lr where c is above zero, w + lr where it is below, w where it is zero, NaN where it is NaN;
/// m = fma(1 - beta2, g - m, m). m starts from +0.
/// </summary>
public static unsafe class LionKernel
{
    /// <summary>Applies one step in one pass.</summary>
    /// <param name="step">The step's numbers.</param>
    /// <param name="weights">(length): updated.</param>
    /// <param name="momentum">(length): m, updated.</param>
    /// <param name="gradient">The gradient's sums and their divisor.</param>
    /// <param name="length">How many parameters.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Update(LionStep step, float* weights, float* momentum, in SummedGradient gradient, nint length, KernelPool? pool = null) =>
        UpdateTraversal.Run(new Operator(step), new UpdateArrays { Weights = weights, First = momentum }, in gradient, length, pool);

    private readonly struct Operator(LionStep step) : IUpdateOperator
    {
        private readonly float _rate = (float)step.LearningRate;
        private readonly float _gain1 = (float)(1 - step.Beta1);
        private readonly float _gain2 = (float)(1 - step.Beta2);
        private readonly float _shrink = (float)(1 - (step.LearningRate * step.WeightDecay));

        public static int States => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Apply<T>(ref T weight, ref T first, ref T second, ref T third, T gradient)
            where T : struct, ILanes<T>
        {
            if (_shrink != 1) weight *= T.Broadcast(_shrink);
            T change = gradient - first;
            T c = T.Fma(T.Broadcast(_gain1), change, first);
            // ±lr by the sign; a zero or NaN moves the weight by itself.
            T moves = T.Or(T.LessThan(c, T.Zero), T.LessThan(T.Zero, c));
            T signed = T.Or(T.And(c, T.BroadcastBits(unchecked((int)0x80000000))), T.Broadcast(_rate));
            weight -= T.Select(moves, signed, c);
            first = T.Fma(T.Broadcast(_gain2), change, first);
        }
    }
}
