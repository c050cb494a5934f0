using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Config;
using DistTrain.Kernels;

namespace DistTrain.Optim;

/// <summary>
/// How the learning rate changes: a function of the step alone, so that every server, and a resumed run, has the same. What
/// listens to evaluations beside it (<see cref="PlateauSchedule"/>) reaches servers through the coordinator.
/// </summary>
/// <param name="WarmupSteps">The first steps, over which the rate rises in a line to what the schedule says.</param>
public abstract record ScheduleSpec(long WarmupSteps)
{
    private static readonly Dictionary<string, Func<NamedChoice, ScheduleSpec>> Readers = new(StringComparer.Ordinal)
    {
        [ConstantSchedule.Kind] = choice => new ConstantSchedule(Warmup(choice.Options)),
        [CosineSchedule.Kind] = CosineSchedule.Read,
        [StepSchedule.Kind] = choice => new StepSchedule(
            choice.Options.Require("every").AsInteger(1), choice.Options.Number("factor", 0.1, 0, 1), Warmup(choice.Options)),
        [MultiStepSchedule.Kind] = MultiStepSchedule.Read,
        [ExponentialSchedule.Kind] = choice => new ExponentialSchedule(choice.Options.Require("factor").AsNumber(0, 1), Warmup(choice.Options)),
        [PolynomialSchedule.Kind] = choice => new PolynomialSchedule(
            choice.Options.Number("power", 1, 0), choice.Options.Number("final_factor", 0, 0, 1), Warmup(choice.Options)),
        [OneCycleSchedule.Kind] = OneCycleSchedule.Read,
        [PlateauSchedule.Kind] = PlateauSchedule.Read,
    };

    /// <summary>The schedule's name in a job.</summary>
    public abstract string Name { get; }

    /// <summary>Whether the rates depend on how long the training is.</summary>
    public virtual bool SpansTraining => false;

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

    private protected static long Warmup(ConfigNode options) => options.Integer("warmup_steps", 0, 0);

    /// <summary>Half a cosine from 1 down to <paramref name="final"/> as <paramref name="done"/> goes from 0 to 1.</summary>
    private protected static double HalfCosine(double done, double final) => final + ((1 - final) * 0.5 * (1 + ScalarMath.Cos(Math.PI * done)));
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
/// Half a cosine from the base rate down, over the whole training or, with restarts, over cycles each of which may be
/// longer than the one before (Loshchilov and Hutter 2017, 'SGDR: stochastic gradient descent with warm restarts').
/// </summary>
/// <param name="WarmupSteps">Steps of warm-up.</param>
/// <param name="FinalFactor">The share of the base rate that is left at the end of training, or of a cycle.</param>
/// <param name="RestartEvery">Steps of the first cycle; 0 for no restarts.</param>
/// <param name="RestartFactor">How many times as long as the one before each cycle is.</param>
public sealed record CosineSchedule(long WarmupSteps = 0, double FinalFactor = 0, long RestartEvery = 0, long RestartFactor = 1) : ScheduleSpec(WarmupSteps)
{
    internal const string Kind = "cosine";

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override bool SpansTraining => RestartEvery == 0;

    internal static CosineSchedule Read(NamedChoice choice)
    {
        ConfigNode options = choice.Options;
        long every = options.Integer("restart_every", 0, 0);
        if (every == 0 && options.Find("restart_factor") is { } factor) throw factor.Error("'restart_factor' says how cycles grow; give 'restart_every' too");
        return new CosineSchedule(Warmup(options), options.Number("final_factor", 0, 0, 1), every, options.Integer("restart_factor", 1, 1));
    }

    private protected override double Factor(long step, long total)
    {
        if (RestartEvery == 0) return HalfCosine(Math.Min(1, (double)step / total), FinalFactor);
        long cycle = RestartEvery;
        if (RestartFactor == 1)
        {
            step %= cycle;
        }
        else
        {
            while (step >= cycle)
            {
                step -= cycle;
                cycle = checked(cycle * RestartFactor);
            }
        }

        return HalfCosine((double)step / cycle, FinalFactor);
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

/// <summary>The rate falls by a factor at each of some steps.</summary>
/// <param name="At">The steps, counted after the warm-up, ascending.</param>
/// <param name="FallFactor">What the rate is multiplied by.</param>
/// <param name="WarmupSteps">Steps of warm-up.</param>
public sealed record MultiStepSchedule(ImmutableArray<long> At, double FallFactor = 0.1, long WarmupSteps = 0) : ScheduleSpec(WarmupSteps)
{
    internal const string Kind = "multi_step";

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <summary>Two are the same when their steps are.</summary>
    public bool Equals(MultiStepSchedule? other) =>
        other is not null && WarmupSteps == other.WarmupSteps && FallFactor.Equals(other.FallFactor) && At.SequenceEqual(other.At);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(WarmupSteps, FallFactor, At.Length);

    internal static MultiStepSchedule Read(NamedChoice choice)
    {
        ConfigNode at = choice.Options.Require("at");
        ImmutableArray<long> steps = [.. at.Items.Select(i => i.AsInteger(1))];
        if (steps.IsEmpty || !steps.SequenceEqual(steps.Order())) throw at.Error("expected an ascending list of steps such as [1000, 2000]");
        return new MultiStepSchedule(steps, choice.Options.Number("factor", 0.1, 0, 1), Warmup(choice.Options));
    }

    private protected override double Factor(long step, long total)
    {
        int falls = 0;
        while (falls < At.Length && step >= At[falls]) falls++;
        return ScalarMath.Pow(FallFactor, falls);
    }
}

/// <summary>The rate falls by a factor at every step.</summary>
/// <param name="FallFactor">What the rate is multiplied by.</param>
/// <param name="WarmupSteps">Steps of warm-up.</param>
public sealed record ExponentialSchedule(double FallFactor, long WarmupSteps = 0) : ScheduleSpec(WarmupSteps)
{
    internal const string Kind = "exponential";

    /// <inheritdoc/>
    public override string Name => Kind;

    private protected override double Factor(long step, long total) => ScalarMath.Pow(FallFactor, step);
}

/// <summary>The rate falls as a power of what is left of the training: in a line for power 1.</summary>
/// <param name="Power">The power.</param>
/// <param name="FinalFactor">The share of the base rate that is left when training ends.</param>
/// <param name="WarmupSteps">Steps of warm-up.</param>
public sealed record PolynomialSchedule(double Power = 1, double FinalFactor = 0, long WarmupSteps = 0) : ScheduleSpec(WarmupSteps)
{
    internal const string Kind = "polynomial";

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override bool SpansTraining => true;

    private protected override double Factor(long step, long total)
    {
        double left = 1 - Math.Min(1, (double)step / total);
        return FinalFactor + ((1 - FinalFactor) * (left == 0 ? 0 : ScalarMath.Pow(left, Power)));
    }
}

/// <summary>
/// Up to the base rate and down again by half cosines (Smith and Topin 2018, 'Super-convergence'), as PyTorch's OneCycleLR.
/// </summary>
/// <param name="RiseShare">The share of the training that the rise takes.</param>
/// <param name="StartFactor">The share of the base rate at the first step.</param>
/// <param name="FinalFactor">The share of the base rate that is left when training ends.</param>
public sealed record OneCycleSchedule(double RiseShare = 0.3, double StartFactor = 0.04, double FinalFactor = 4e-6) : ScheduleSpec(0)
{
    internal const string Kind = "one_cycle";

    /// <inheritdoc/>
    public override string Name => Kind;

    /// <inheritdoc/>
    public override bool SpansTraining => true;

    internal static OneCycleSchedule Read(NamedChoice choice)
    {
        var fallback = new OneCycleSchedule();
        ConfigNode options = choice.Options;
        return new OneCycleSchedule(
            options.Number("rise_share", fallback.RiseShare, 0, 1),
            options.Number("start_factor", fallback.StartFactor, 0, 1),
            options.Number("final_factor", fallback.FinalFactor, 0, 1));
    }

    private protected override double Factor(long step, long total)
    {
        double top = (RiseShare * total) - 1;
        if (step <= top) return HalfCosine(1 - (step / top), StartFactor);
        double done = Math.Min(1, (step - top) / Math.Max(1, total - 1 - top));
        return HalfCosine(done, FinalFactor);
    }
}
