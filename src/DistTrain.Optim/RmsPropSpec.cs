using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Optim;

/// <summary>
/// RMSprop (Hinton 2012, 'Neural networks for machine learning', lecture 6e) in PyTorch's form; <see cref="RmsPropKernel"/>
/// has the formula.
/// </summary>
/// <param name="LearningRate">The rate before any schedule.</param>
/// <param name="Decay">How much of the mean square stays at each step.</param>
/// <param name="Epsilon">Added to the denominator.</param>
/// <param name="Momentum">0 to below 1.</param>
/// <param name="WeightDecay">The L2 penalty's factor.</param>
/// <param name="Centered">Whether the denominator is the variance rather than the mean square.</param>
public sealed record RmsPropSpec(double LearningRate = 0.01, double Decay = 0.99, double Epsilon = 1e-8, double Momentum = 0, double WeightDecay = 0, bool Centered = false)
    : OptimizerSpec
{
    internal const string Kind = "rmsprop";

    private static readonly ImmutableArray<string> Plain = ["square_avg"];
    private static readonly ImmutableArray<string> WithMomentum = ["square_avg", "momentum_buffer"];
    private static readonly ImmutableArray<string> WithMeans = ["square_avg", "grad_avg"];
    private static readonly ImmutableArray<string> WithBoth = ["square_avg", "momentum_buffer", "grad_avg"];

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override double LearningRate { get; init; } = LearningRate;

    /// <inheritdoc/>
    public override ImmutableArray<string> StateVectors => (Momentum != 0, Centered) switch
    {
        (false, false) => Plain,
        (true, false) => WithMomentum,
        (false, true) => WithMeans,
        _ => WithBoth,
    };

    /// <inheritdoc/>
    public override IOptimizer Create() => new RmsPropOptimizer(this);

    internal static RmsPropSpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        var fallback = new RmsPropSpec();
        return new RmsPropSpec(
            options.Number("learning_rate", fallback.LearningRate, 0),
            options.Number("decay", fallback.Decay, 0, 1),
            options.Number("epsilon", fallback.Epsilon, 0),
            options.Number("momentum", fallback.Momentum, 0, 1),
            options.Number("weight_decay", fallback.WeightDecay, 0),
            options.Flag("centered", fallback.Centered));
    }
}

/// <summary>The update rule of <see cref="RmsPropSpec"/>.</summary>
internal sealed class RmsPropOptimizer(RmsPropSpec spec) : IOptimizer
{
    /// <inheritdoc/>
    public unsafe void Update(
        in UpdateContext context, float* weights, float* gradientSum, ReadOnlySpan<nint> state, int length, KernelPool pool)
    {
        var step = new RmsPropStep(context.LearningRate, spec.Decay, spec.Epsilon, spec.Momentum, context.Decay(spec.WeightDecay), spec.Centered);
        float* momentum = spec.Momentum == 0 ? null : (float*)state[1];
        float* means = spec.Centered ? (float*)state[spec.Momentum == 0 ? 1 : 2] : null;
        RmsPropKernel.Update(step, weights, (float*)state[0], momentum, means, context.Gradient(gradientSum), length, pool);
    }
}
