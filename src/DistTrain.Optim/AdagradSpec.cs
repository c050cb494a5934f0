using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Optim;

/// <summary>
/// Adagrad (Duchi et al. 2011, 'Adaptive subgradient methods') in PyTorch's form; <see cref="AdagradKernel"/> has the formula.
/// </summary>
/// <param name="LearningRate">The rate before any schedule.</param>
/// <param name="Epsilon">Added to the denominator.</param>
/// <param name="WeightDecay">The L2 penalty's factor.</param>
public sealed record AdagradSpec(double LearningRate = 0.01, double Epsilon = 1e-10, double WeightDecay = 0)
    : OptimizerSpec
{
    internal const string Kind = "adagrad";

    private static readonly ImmutableArray<string> Vectors = ["sum"];

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override double LearningRate { get; init; } = LearningRate;

    /// <inheritdoc/>
    public override ImmutableArray<string> StateVectors => Vectors;


    /// <inheritdoc/>
    public override IOptimizer Create() => new AdagradOptimizer(this);

    internal static AdagradSpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        var fallback = new AdagradSpec();
        return new AdagradSpec(
            options.Number("learning_rate", fallback.LearningRate, 0),
            options.Number("epsilon", fallback.Epsilon, 0),
            options.Number("weight_decay", fallback.WeightDecay, 0));
    }
}

/// <summary>The update rule of <see cref="AdagradSpec"/>.</summary>
internal sealed class AdagradOptimizer(AdagradSpec spec) : IOptimizer
{
    /// <inheritdoc/>
    public unsafe void Update(
        in UpdateContext context, float* weights, float* gradientSum, ReadOnlySpan<nint> state, int length, KernelPool pool)
    {
        var step = new AdagradStep(context.LearningRate, spec.Epsilon, context.Decay(spec.WeightDecay));
        AdagradKernel.Update(step, weights, (float*)state[0], context.Gradient(gradientSum), length, pool);
    }
}
