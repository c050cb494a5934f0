using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Optim;

/// <summary>
/// Lion (Chen et al. 2023, 'Symbolic discovery of optimization algorithms'): the sign of an average;
/// <see cref="LionKernel"/> has the formula.
/// </summary>
/// <param name="LearningRate">The rate before any schedule.</param>
/// <param name="Beta1">The weight of the momentum in the step's direction.</param>
/// <param name="Beta2">The momentum's decay.</param>
/// <param name="WeightDecay">How much of the weights, times the rate, goes at each step.</param>
public sealed record LionSpec(double LearningRate = 1e-4, double Beta1 = 0.9, double Beta2 = 0.99, double WeightDecay = 0)
    : OptimizerSpec
{
    internal const string Kind = "lion";

    private static readonly ImmutableArray<string> Vectors = ["exp_avg"];

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override double LearningRate { get; init; } = LearningRate;

    /// <inheritdoc/>
    public override ImmutableArray<string> StateVectors => Vectors;


    /// <inheritdoc/>
    public override IOptimizer Create() => new LionOptimizer(this);

    internal static LionSpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        var fallback = new LionSpec();
        return new LionSpec(
            options.Number("learning_rate", fallback.LearningRate, 0),
            options.Number("beta1", fallback.Beta1, 0, 1),
            options.Number("beta2", fallback.Beta2, 0, 1),
            options.Number("weight_decay", fallback.WeightDecay, 0));
    }
}

/// <summary>The update rule of <see cref="LionSpec"/>.</summary>
internal sealed class LionOptimizer(LionSpec spec) : IOptimizer
{
    /// <inheritdoc/>
    public unsafe void Update(
        in UpdateContext context, float* weights, float* gradientSum, ReadOnlySpan<nint> state, int length, KernelPool pool)
    {
        var step = new LionStep(context.LearningRate, spec.Beta1, spec.Beta2, context.Decay(spec.WeightDecay));
        LionKernel.Update(step, weights, (float*)state[0], context.Gradient(gradientSum), length, pool);
    }
}
