using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Optim;

/// <summary>
/// LARS (You et al. 2017, 'Large batch training of convolutional networks'): momentum with a rate for each tensor, by the
/// norms of its weights and its gradient; <see cref="LarsKernel"/> has the formula. A tensor that isn't decayed because of
/// <see cref="OptimizerSpec.DecaysBiases"/> keeps the plain rate.
/// </summary>
/// <param name="LearningRate">The rate before any schedule.</param>
/// <param name="Momentum">0 to below 1.</param>
/// <param name="WeightDecay">The L2 penalty's factor.</param>
/// <param name="TrustCoefficient">How large a step may be, as a share of the weights' norm.</param>
/// <param name="Epsilon">Added to the trust ratio's denominator.</param>
public sealed record LarsSpec(double LearningRate = 1, double Momentum = 0.9, double WeightDecay = 0, double TrustCoefficient = 1e-3, double Epsilon = 1e-8)
    : OptimizerSpec
{
    internal const string Kind = "lars";

    private static readonly ImmutableArray<string> Velocity = ["momentum"];

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override double LearningRate { get; init; } = LearningRate;

    /// <inheritdoc/>
    public override ImmutableArray<string> StateVectors => Velocity;

    /// <inheritdoc/>
    public override bool NeedsTrust => true;

    /// <inheritdoc/>
    public override IOptimizer Create() => new LarsOptimizer(this);

    internal static LarsSpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        var fallback = new LarsSpec();
        return new LarsSpec(
            options.Number("learning_rate", fallback.LearningRate, 0),
            options.Number("momentum", fallback.Momentum, 0, 1),
            options.Number("weight_decay", fallback.WeightDecay, 0),
            options.Number("trust_coefficient", fallback.TrustCoefficient, 0),
            options.Number("epsilon", fallback.Epsilon, 0));
    }
}

/// <summary>The update rule of <see cref="LarsSpec"/>.</summary>
internal sealed class LarsOptimizer(LarsSpec spec) : ITrustOptimizer
{
    /// <inheritdoc/>
    public bool TakesDirection => false;

    /// <inheritdoc/>
    public unsafe void Prepare(
        in UpdateContext context, float* weights, float* gradientSum, ReadOnlySpan<nint> state, float* direction, int length, KernelPool pool)
    {
        // What is measured is the gradient itself.
    }

    /// <inheritdoc/>
    public double Trust(in UpdateContext context, double weightSquares, double squares) =>
        LarsKernel.TrustRatio(Step(context), weightSquares, squares, context.TotalWeight);

    /// <inheritdoc/>
    public unsafe void Update(
        in UpdateContext context, float* weights, float* gradientSum, ReadOnlySpan<nint> state, int length, KernelPool pool) =>
        LarsKernel.Update(Step(context), context.Trust, weights, (float*)state[0], context.Gradient(gradientSum), length, pool);

    private LarsStep Step(in UpdateContext context) =>
        new(context.LearningRate, spec.Momentum, context.Decay(spec.WeightDecay), spec.TrustCoefficient, spec.Epsilon);
}
