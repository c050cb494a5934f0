using DistTrain.Core;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Optim;

/// <summary>
/// How the learning rate changes: a function of the step alone, so that every server, and a resumed run, has the same.
/// </summary>
/// <param name="WarmupSteps">The first steps, over which the rate rises in a line to what the schedule says.</param>
public abstract record ScheduleSpec(long WarmupSteps)
{
    private static readonly Dictionary<string, Func<NamedChoice, ScheduleSpec>> Readers = new(StringComparer.Ordinal)
    {
        [ConstantSchedule.Kind] = choice => new ConstantSchedule(Warmup(choice.Options)),
        [CosineSchedule.Kind] = choice => new CosineSchedule(Warmup(choice.Options), choice.Options.Number("final_factor", 0, 0, 1)),
        [StepSchedule.Kind] = choice => new StepSchedule(
            choice.Options.Require("every").AsInteger(1), choice.Options.Number("factor", 0.1, 0, 1), Warmup(choice.Options)),
    };

    /// <summary>The schedule's name in a job.</summary>
    public abstract string Name { get; }

    /// <summary>Reads a schedule: <c>constant</c>, <c>{ cosine: { warmup_steps: 200 } }</c>, <c>{ step: { every: 1000 } }</c>.</summary>
    /// <exception cref="DistTrainException">It is unknown (with the nearest spelling), or an option is wrong.</exception>
    public static ScheduleSpec FromConfig(ConfigNode node)
    {
        NamedChoice choice = NamedChoice.Read(node, "schedule", Readers.Keys);
        if (choice.HasMainValue) throw choice.Options.Error($"'{choice.Name}' takes named options, got {choice.Options.Describe()}");
        ScheduleSpec schedule = Readers[choice.Name](choice);
        choice.RefuseUnknown();
        return schedule;
    }

    /// <summary>The rate of one step.</summary>
    /// <param name="baseRate">The optimizer's rate.</param>
    /// <param name="step">The update, from 1.</param>
    /// <param name="totalSteps">How many updates the whole training has.</param>
    public double LearningRate(double baseRate, long step, long totalSteps) => step <= WarmupSteps
        ? baseRate * ((double)step / (WarmupSteps + 1)) * Factor(0, Math.Max(1, totalSteps - WarmupSteps))
        : baseRate * Factor(step - WarmupSteps - 1, Math.Max(1, totalSteps - WarmupSteps));

    /// <summary>What the base rate is multiplied by, <paramref name="step"/> steps (from 0) after the warm-up, of
    /// <paramref name="total"/>.</summary>
    private protected abstract double Factor(long step, long total);

    private static long Warmup(ConfigNode options) => options.Integer("warmup_steps", 0, 0);
}

/// <summary>The same rate throughout.</summary>
/// <param name="WarmupSteps">Steps of warm-up.</param>
public sealed record ConstantSchedule(long WarmupSteps = 0) : ScheduleSpec(WarmupSteps)
{
    internal const string Kind = "constant";

    /// <inheritdoc/>
    public override string Name => Kind;

    private protected override double Factor(long step, long total) => 1;
}

/// <summary>
/// Half a cosine from the base rate down (Loshchilov and Hutter 2017, 'SGDR', without restarts).
/// </summary>
/// <param name="WarmupSteps">Steps of warm-up.</param>
/// <param name="FinalFactor">The share of the base rate that is left when training ends.</param>
public sealed record CosineSchedule(long WarmupSteps = 0, double FinalFactor = 0) : ScheduleSpec(WarmupSteps)
{
    internal const string Kind = "cosine";

    /// <inheritdoc/>
    public override string Name => Kind;

    private protected override double Factor(long step, long total)
    {
        double done = Math.Min(1, (double)step / total);
        return FinalFactor + ((1 - FinalFactor) * 0.5 * (1 + ScalarMath.Cos(Math.PI * done)));
    }
}

/// <summary>The rate falls by a factor every so many steps.</summary>
/// <param name="Every">Steps from one fall to the next.</param>
/// <param name="FallFactor">What the rate is multiplied by.</param>
/// <param name="WarmupSteps">Steps of warm-up.</param>
public sealed record StepSchedule(long Every, double FallFactor = 0.1, long WarmupSteps = 0) : ScheduleSpec(WarmupSteps)
{
    internal const string Kind = "step";

    /// <inheritdoc/>
    public override string Name => Kind;

    private protected override double Factor(long step, long total) => ScalarMath.Pow(FallFactor, step / Every);
}
