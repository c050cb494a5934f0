using System.Collections.Immutable;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Optim;

/// <summary>
/// Adam (Kingma and Ba 2015, 'Adam: a method for stochastic optimization') and AdamW (Loshchilov and Hutter 2019,
/// 'Decoupled weight decay regularization') in PyTorch's form; <see cref="AdamKernel"/> has the formula.
/// </summary>
/// <param name="LearningRate">The rate before any schedule.</param>
/// <param name="Beta1">The first moment's decay.</param>
/// <param name="Beta2">The second moment's decay.</param>
/// <param name="Epsilon">Added to the denominator.</param>
/// <param name="WeightDecay">Adam: the L2 penalty's factor. AdamW: how much of the weights, times the rate, goes at each step.</param>
/// <param name="Decoupled">AdamW rather than Adam.</param>
public sealed record AdamSpec(
    double LearningRate = 1e-3, double Beta1 = 0.9, double Beta2 = 0.999, double Epsilon = 1e-8, double WeightDecay = 0, bool Decoupled = false)
    : OptimizerSpec
{
    internal const string Kind = "adam";
    internal const string DecoupledKind = "adamw";

    // At 1 the bias correction 1 − beta^t would be 0.
    private const double BelowOne = 0.9999999;

    private static readonly ImmutableArray<string> Moments = ["exp_avg", "exp_avg_sq"];

    /// <summary>Adam as a beginner wants it.</summary>
    public static AdamSpec Adam { get; } = new();

    /// <summary>AdamW as a beginner wants it: decay 0.01.</summary>
    public static AdamSpec AdamW { get; } = new(WeightDecay: 0.01, Decoupled: true);

    /// <inheritdoc/>
    public override string Name => Decoupled ? DecoupledKind : Kind;

    /// <inheritdoc/>
    public override double LearningRate { get; init; } = LearningRate;

    /// <inheritdoc/>
    public override ImmutableArray<string> StateVectors => Moments;

    /// <inheritdoc/>
    public override IOptimizer Create() => new AdamOptimizer(this);

    internal static AdamSpec Read(NamedChoice choice, AdamSpec fallback)
    {
        ConfigNode options = choice.Options;
        (double beta1, double beta2) = ReadBetas(options, fallback);
        return fallback with
        {
            LearningRate = options.Number("learning_rate", fallback.LearningRate, 0),
            Beta1 = beta1,
            Beta2 = beta2,
            Epsilon = options.Number("epsilon", fallback.Epsilon, 0),
            WeightDecay = options.Number("weight_decay", fallback.WeightDecay, 0),
        };
    }

    // As a pair, as papers and PyTorch write them, or one by one.
    private static (double Beta1, double Beta2) ReadBetas(ConfigNode options, AdamSpec fallback)
    {
        double beta1 = options.Number("beta1", fallback.Beta1, 0, BelowOne);
        double beta2 = options.Number("beta2", fallback.Beta2, 0, BelowOne);
        if (options.Find("betas") is not { } pair) return (beta1, beta2);
        if (options.Find("beta1") is not null || options.Find("beta2") is not null) throw pair.Error("'betas' says what 'beta1' and 'beta2' say; give one or the other");
        if (pair.Items.Count != 2) throw pair.Error($"expected two numbers such as [0.9, 0.999], got {(pair.Kind == ConfigKind.List ? $"a list of {pair.Items.Count}" : pair.Describe())}");
        return (pair.Items[0].AsNumber(0, BelowOne), pair.Items[1].AsNumber(0, BelowOne));
    }
}

/// <summary>The update rule of <see cref="AdamSpec"/>.</summary>
internal sealed class AdamOptimizer(AdamSpec spec) : IOptimizer
{
    /// <inheritdoc/>
    public unsafe void Update(
        in UpdateContext context, float* weights, float* gradientSum, ReadOnlySpan<nint> state, int length, KernelPool pool)
    {
        var step = new AdamStep(
            context.LearningRate,
            spec.Beta1,
            spec.Beta2,
            spec.Epsilon,
            context.Decay(spec.WeightDecay),
            1 - ScalarMath.Pow(spec.Beta1, context.Step),
            1 - ScalarMath.Pow(spec.Beta2, context.Step),
            spec.Decoupled);
        AdamKernel.Update(step, weights, (float*)state[0], (float*)state[1], context.Gradient(gradientSum), length, pool);
    }
}
