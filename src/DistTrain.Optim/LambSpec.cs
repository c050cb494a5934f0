using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Optim;

/// <summary>
/// LAMB (You et al. 2020, 'Large batch optimization for deep learning'): Adam's direction with a rate for each tensor, by
/// the norms of its weights and of the direction; <see cref="LambKernel"/> has the formula. A tensor that isn't decayed
/// because of <see cref="OptimizerSpec.DecaysBiases"/> keeps the plain rate.
/// </summary>
/// <param name="LearningRate">The rate before any schedule.</param>
/// <param name="Beta1">The first moment's decay.</param>
/// <param name="Beta2">The second moment's decay.</param>
/// <param name="Epsilon">Added to the denominator.</param>
/// <param name="WeightDecay">How much of the weights the direction has in it.</param>
public sealed record LambSpec(double LearningRate = 1e-3, double Beta1 = 0.9, double Beta2 = 0.999, double Epsilon = 1e-6, double WeightDecay = 0.01)
    : OptimizerSpec
{
    internal const string Kind = "lamb";

    // At 1 the bias correction 1 − beta^t would be 0.
    private const double BelowOne = 0.9999999;

    private static readonly ImmutableArray<string> Moments = ["exp_avg", "exp_avg_sq"];

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override double LearningRate { get; init; } = LearningRate;

    /// <inheritdoc/>
    public override ImmutableArray<string> StateVectors => Moments;

    /// <inheritdoc/>
    public override bool NeedsTrust => true;

    /// <inheritdoc/>
    public override IOptimizer Create() => new LambOptimizer(this);

    internal static LambSpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        var fallback = new LambSpec();
        return new LambSpec(
            options.Number("learning_rate", fallback.LearningRate, 0),
            options.Number("beta1", fallback.Beta1, 0, BelowOne),
            options.Number("beta2", fallback.Beta2, 0, BelowOne),
            options.Number("epsilon", fallback.Epsilon, 0),
            options.Number("weight_decay", fallback.WeightDecay, 0));
    }
}

/// <summary>The update rule of <see cref="LambSpec"/>: what it updates with is the direction that it prepared.</summary>
internal sealed class LambOptimizer(LambSpec spec) : ITrustOptimizer
{
    /// <inheritdoc/>
    public bool TakesDirection => true;

    /// <inheritdoc/>
    public unsafe void Prepare(
        in UpdateContext context, float* weights, float* gradientSum, ReadOnlySpan<nint> state, float* direction, int length, KernelPool pool) =>
        LambKernel.Direction(Step(context), weights, (float*)state[0], (float*)state[1], direction, context.Gradient(gradientSum), length, pool);

    /// <inheritdoc/>
    public double Trust(in UpdateContext context, double weightSquares, double squares) => LambKernel.TrustRatio(weightSquares, squares);

    /// <inheritdoc/>
    public unsafe void Update(
        in UpdateContext context, float* weights, float* gradientSum, ReadOnlySpan<nint> state, int length, KernelPool pool) =>
        LambKernel.Apply(Step(context), context.Trust, weights, gradientSum, length, pool);

    private AdamStep Step(in UpdateContext context) => new(
        context.LearningRate,
        spec.Beta1,
        spec.Beta2,
        spec.Epsilon,
        context.Decay(spec.WeightDecay),
        1 - ScalarMath.Pow(spec.Beta1, context.Step),
        1 - ScalarMath.Pow(spec.Beta2, context.Step),
        Decoupled: true);
}
