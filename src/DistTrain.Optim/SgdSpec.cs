using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Optim;

/// <summary>
/// Stochastic gradient descent with momentum in PyTorch's form: g = G / total + weight_decay·w; v = momentum·v + g;
/// w −= rate·v, or rate·(g + momentum·v) for Nesterov. Without momentum there is no state.
/// </summary>
/// <param name="LearningRate">The rate before any schedule.</param>
/// <param name="Momentum">0 to below 1.</param>
/// <param name="Nesterov">Looks ahead along the momentum, which must then be above 0.</param>
/// <param name="WeightDecay">The L2 penalty's factor.</param>
public sealed record SgdSpec(double LearningRate = 0.01, double Momentum = 0.9, bool Nesterov = false, double WeightDecay = 0)
    : OptimizerSpec
{
    internal const string Kind = "sgd";

    private static readonly ImmutableArray<string> Velocity = ["momentum"];

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override double LearningRate { get; init; } = LearningRate;

    /// <inheritdoc/>
    public override ImmutableArray<string> StateVectors => Momentum == 0 ? [] : Velocity;

    /// <inheritdoc/>
    public override IOptimizer Create() => new SgdOptimizer(this);

    internal static SgdSpec Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        var fallback = new SgdSpec();
        double rate = options.Number("learning_rate", fallback.LearningRate, 0);
        double momentum = options.Number("momentum", fallback.Momentum, 0, 1);
        bool nesterov = options.Flag("nesterov", fallback.Nesterov);
        double decay = options.Number("weight_decay", fallback.WeightDecay, 0);
        if (nesterov && momentum == 0) throw options.Error("'nesterov: true' looks ahead along the momentum, got 'momentum: 0'");
        return new SgdSpec(rate, momentum, nesterov, decay);
    }
}

/// <summary>The update rule of <see cref="SgdSpec"/>.</summary>
internal sealed class SgdOptimizer(SgdSpec spec) : IOptimizer
{
    /// <inheritdoc/>
    public unsafe void Update(
        in UpdateContext context, float* weights, float* gradientSum, ReadOnlySpan<nint> state, int length, KernelPool pool)
    {
        var step = new SgdStep(context.LearningRate, spec.Momentum, context.Decay(spec.WeightDecay), spec.Nesterov);
        float* momentum = spec.Momentum == 0 ? null : (float*)state[0];
        SgdKernel.Update(step, weights, momentum, context.Gradient(gradientSum), length, pool);
    }
}
