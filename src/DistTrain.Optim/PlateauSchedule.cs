using DistTrain.Core.Config;

namespace DistTrain.Optim;

/// <summary>
/// The rate falls by a factor when the test loss has stopped falling, as PyTorch's ReduceLROnPlateau. What it depends on,
/// beside the step, comes from evaluations: <see cref="Next"/> is asked after each epoch's.
/// </summary>
/// <param name="FallFactor">What the rate is multiplied by.</param>
/// <param name="Patience">Evaluations without a better loss that are borne; the next one makes the rate fall.</param>
/// <param name="Threshold">The share by which a loss must be below the best one to be better.</param>
/// <param name="Cooldown">Evaluations after a fall that aren't counted as without a better loss.</param>
/// <param name="Minimum">The share of the optimizer's rate that it never falls below.</param>
/// <param name="WarmupSteps">Steps of warm-up.</param>
public sealed record PlateauSchedule(
    double FallFactor = 0.1, long Patience = 10, double Threshold = 1e-4, long Cooldown = 0, double Minimum = 0, long WarmupSteps = 0) : ScheduleSpec(WarmupSteps)
{
    internal const string Kind = "plateau";

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <summary>What follows from an evaluation.</summary>
    /// <param name="before">What followed from those before it.</param>
    /// <param name="loss">The mean test loss; NaN is never better.</param>
    public PlateauState Next(PlateauState before, double loss)
    {
        bool better = loss < before.Best * (1 - Threshold);
        double best = better ? loss : before.Best;
        long since = better || before.Cooldown > 0 ? 0 : before.Since + 1;
        return since > Patience
            ? new PlateauState(Math.Max(Minimum, before.Factor * FallFactor), best, 0, Cooldown)
            : new PlateauState(before.Factor, best, since, Math.Max(0, before.Cooldown - 1));
    }

    internal static PlateauSchedule Read(NamedChoice choice)
    {
        var fallback = new PlateauSchedule();
        ConfigNode options = choice.Options;
        return new PlateauSchedule(
            options.Number("factor", fallback.FallFactor, 0, 1),
            options.Integer("patience", fallback.Patience, 0),
            options.Number("threshold", fallback.Threshold, 0, 1),
            options.Integer("cooldown", fallback.Cooldown, 0),
            options.Number("minimum", fallback.Minimum, 0, 1),
            Warmup(options));
    }

    // The falls come from evaluations, beside the step.
    private protected override double Factor(long step, long total) => 1;
}

/// <summary>What a plateau schedule remembers from one evaluation to the next.</summary>
/// <param name="Factor">The share of the rate that is left.</param>
/// <param name="Best">The lowest loss so far.</param>
/// <param name="Since">Evaluations without a better one.</param>
/// <param name="Cooldown">Evaluations that still aren't counted.</param>
public readonly record struct PlateauState(double Factor, double Best, long Since, long Cooldown)
{
    /// <summary>Before the first evaluation.</summary>
    public static PlateauState Start { get; } = new(1, double.PositiveInfinity, 0, 0);
}
