using DistTrain.Kernels;

namespace DistTrain.Optim;

/// <summary>What an update depends on beside the numbers themselves.</summary>
/// <param name="Step">Which update of the weights this is, from 1.</param>
/// <param name="TotalWeight">What the gradient sums are divided by; not 0.</param>
/// <param name="LearningRate">The rate at this step, the schedule applied.</param>
/// <param name="Decays">Whether weight decay applies to these elements.</param>
/// <param name="Clip">What the mean gradient is multiplied by.</param>
public readonly record struct UpdateContext(long Step, double TotalWeight, double LearningRate, bool Decays = true, double Clip = 1)
{
    /// <summary>The gradient as kernels read it: divided once by the total weight, then clipped.</summary>
    internal unsafe SummedGradient Gradient(float* sum) => new(sum, (float)TotalWeight, FloatFormat.Float32, (float)Clip);

    /// <summary>The decay that applies to these elements.</summary>
    internal double Decay(double decay) => Decays ? decay : 0;
}

/// <summary>
/// An update rule. It is elementwise and knows no layers, so it may be applied to any ranges of the flat vector, in any
/// order, with the same bits. All state lies in the vectors handed in.
/// </summary>
public interface IOptimizer
{
    /// <summary>Updates weights and state in place.</summary>
    /// <param name="context">Step, divisor and rate.</param>
    /// <param name="weights">(length).</param>
    /// <param name="gradientSum">(length): the sum over the mini-batch, not the mean; not changed.</param>
    /// <param name="state">One float* (length) for each of <see cref="OptimizerSpec.StateVectors"/>, in that order.</param>
    /// <param name="length">How many elements.</param>
    /// <param name="pool">The threads to use.</param>
    unsafe void Update(
        in UpdateContext context, float* weights, float* gradientSum, ReadOnlySpan<nint> state, int length, KernelPool pool);
}
