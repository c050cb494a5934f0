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
    /// <summary>The weight decay of these elements in place of the optimizer's; null for that.</summary>
    public double? WeightDecay { get; init; }

    /// <summary>What the rate is multiplied by because of the tensor's norms: see <see cref="ITrustOptimizer"/>.</summary>
    public double Trust { get; init; } = 1;

    /// <summary>The gradient as kernels read it: divided once by the total weight, then clipped.</summary>
    internal unsafe SummedGradient Gradient(float* sum) => new(sum, (float)TotalWeight, FloatFormat.Float32, (float)Clip);

    /// <summary>The decay that applies to these elements.</summary>
    internal double Decay(double decay) => WeightDecay ?? (Decays ? decay : 0);
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

/// <summary>
/// An update rule whose rate differs from tensor to tensor by norms of the whole tensor: reduce → prepare → measure → decide
/// → apply. Before the last two it is as elementwise as any.
/// </summary>
public interface ITrustOptimizer : IOptimizer
{
    /// <summary>
    /// Whether <see cref="Prepare"/> writes a direction, whose norm is measured and which <see cref="IOptimizer.Update"/>
    /// then gets in place of the gradient sums; else the gradient sums are measured.
    /// </summary>
    bool TakesDirection { get; }

    /// <summary>Updates the state and writes the direction of the step; once for each step.</summary>
    /// <param name="context">Step, divisor and rate.</param>
    /// <param name="weights">(length); not changed.</param>
    /// <param name="gradientSum">(length); not changed.</param>
    /// <param name="state">As in <see cref="IOptimizer.Update"/>.</param>
    /// <param name="direction">(length): overwritten.</param>
    /// <param name="length">How many elements.</param>
    /// <param name="pool">The threads to use.</param>
    unsafe void Prepare(
        in UpdateContext context, float* weights, float* gradientSum, ReadOnlySpan<nint> state, float* direction, int length, KernelPool pool);

    /// <summary>A tensor's ratio.</summary>
    /// <param name="context">As for its update, but for the ratio.</param>
    /// <param name="weightSquares">The weights' sum of squares.</param>
    /// <param name="squares">That of what is measured: gradient sums or direction.</param>
    double Trust(in UpdateContext context, double weightSquares, double squares);
}
