using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>The numbers of one RMSprop step. What is derived from them is computed in double and rounded once to fp32.</summary>
/// <param name="LearningRate">lr.</param>
/// <param name="Decay">alpha: the squares' mean's decay.</param>
/// <param name="Epsilon">Added to the denominator.</param>
/// <param name="Momentum">mu; 0 for none.</param>
/// <param name="WeightDecay">wd: the L2 penalty's factor; 0 skips it.</param>
/// <param name="Centered">Divides by the deviation instead of the root of the squares' mean.</param>
public readonly record struct RmsPropStep(
    double LearningRate, double Decay = 0.99, double Epsilon = 1e-8, double Momentum = 0, double WeightDecay = 0, bool Centered = false);

/// <summary>
/// RMSprop (Tieleman and Hinton, 2012; centered: Graves, 2013) in PyTorch's form. Per element: g = G / total;
/// g = fma(wd, w, g); v = fma(alpha, v, (1 - alpha)·(g·g)); centered: a = fma(1 - alpha, g - a, a) and
/// d = √(v - a·a) + eps, the difference fused, else d = √v + eps; momentum: b = fma(mu, b, g / d), w = fma(-lr, b, w),
/// else w = fma(-lr, g / d, w). All states start from +0.
/// </summary>
public static unsafe class RmsPropKernel
{
    /// <summary>Applies one step in one pass.</summary>
    /// <param name="step">The step's numbers.</param>
    /// <param name="weights">(length): updated.</param>
    /// <param name="squares">(length): v, updated.</param>
    /// <param name="momentum">(length): b, updated; null without momentum.</param>
    /// <param name="means">(length): a, updated; null when not centered.</param>
    /// <param name="gradient">The gradient's sums and their divisor.</param>
    /// <param name="length">How many parameters.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Update(
        RmsPropStep step, float* weights, float* squares, float* momentum, float* means, in SummedGradient gradient, nint length, KernelPool? pool = null)
    {
        var numbers = new Numbers(step);
        var arrays = new UpdateArrays { Weights = weights, First = squares };
        switch ((step.Momentum != 0, step.Centered))
        {
            case (false, false):
                UpdateTraversal.Run(new Plain(numbers), arrays, in gradient, length, pool);
                break;
            case (true, false):
                arrays.Second = momentum;
                UpdateTraversal.Run(new WithMomentum(numbers), arrays, in gradient, length, pool);
                break;
            case (false, true):
                arrays.Second = means;
                UpdateTraversal.Run(new Centered(numbers), arrays, in gradient, length, pool);
                break;
            default:
                arrays.Second = means;
                arrays.Third = momentum;
                UpdateTraversal.Run(new CenteredWithMomentum(numbers), arrays, in gradient, length, pool);
                break;
        }
    }

    private readonly struct Numbers(RmsPropStep step)
    {
        private readonly float _negativeRate = -(float)step.LearningRate;
        private readonly float _decay = (float)step.Decay;
        private readonly float _gain = (float)(1 - step.Decay);
        private readonly float _epsilon = (float)step.Epsilon;
        private readonly float _momentum = (float)step.Momentum;
        private readonly float _penalty = (float)step.WeightDecay;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public T Penalise<T>(T weight, T gradient)
            where T : struct, ILanes<T> => _penalty == 0 ? gradient : T.Fma(T.Broadcast(_penalty), weight, gradient);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public T Square<T>(ref T squares, T gradient)
            where T : struct, ILanes<T>
        {
            squares = T.Fma(T.Broadcast(_decay), squares, T.Broadcast(_gain) * (gradient * gradient));
            return squares;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public T Centre<T>(ref T mean, T squares, T gradient)
            where T : struct, ILanes<T>
        {
            mean = T.Fma(T.Broadcast(_gain), gradient - mean, mean);
            return T.Fma(T.Zero - mean, mean, squares);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public T Ratio<T>(T gradient, T variance)
            where T : struct, ILanes<T> => gradient / (T.Sqrt(variance) + T.Broadcast(_epsilon));

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public T Accelerate<T>(ref T momentum, T ratio)
            where T : struct, ILanes<T>
        {
            momentum = T.Fma(T.Broadcast(_momentum), momentum, ratio);
            return momentum;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public T Step<T>(T weight, T direction)
            where T : struct, ILanes<T> => T.Fma(T.Broadcast(_negativeRate), direction, weight);
    }

    private readonly struct Plain(Numbers numbers) : IUpdateOperator
    {
        public static int States => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Apply<T>(ref T weight, ref T first, ref T second, ref T third, T gradient)
            where T : struct, ILanes<T>
        {
            gradient = numbers.Penalise(weight, gradient);
            weight = numbers.Step(weight, numbers.Ratio(gradient, numbers.Square(ref first, gradient)));
        }
    }

    private readonly struct WithMomentum(Numbers numbers) : IUpdateOperator
    {
        public static int States => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Apply<T>(ref T weight, ref T first, ref T second, ref T third, T gradient)
            where T : struct, ILanes<T>
        {
            gradient = numbers.Penalise(weight, gradient);
            T ratio = numbers.Ratio(gradient, numbers.Square(ref first, gradient));
            weight = numbers.Step(weight, numbers.Accelerate(ref second, ratio));
        }
    }

    private readonly struct Centered(Numbers numbers) : IUpdateOperator
    {
        public static int States => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Apply<T>(ref T weight, ref T first, ref T second, ref T third, T gradient)
            where T : struct, ILanes<T>
        {
            gradient = numbers.Penalise(weight, gradient);
            T variance = numbers.Centre(ref second, numbers.Square(ref first, gradient), gradient);
            weight = numbers.Step(weight, numbers.Ratio(gradient, variance));
        }
    }

    private readonly struct CenteredWithMomentum(Numbers numbers) : IUpdateOperator
    {
        public static int States => 3;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Apply<T>(ref T weight, ref T first, ref T second, ref T third, T gradient)
            where T : struct, ILanes<T>
        {
            gradient = numbers.Penalise(weight, gradient);
            T variance = numbers.Centre(ref second, numbers.Square(ref first, gradient), gradient);
            weight = numbers.Step(weight, numbers.Accelerate(ref third, numbers.Ratio(gradient, variance)));
        }
    }
}
