using System.Globalization;
using DistTrain.Optim;

namespace DistTrain.Training;

/// <summary>
/// How far workers may run apart. Synchronous: a step is computed with the weights that all steps before it made. Otherwise with
/// the newest ones that a worker has, which lack at most <see cref="Bound"/> whole mini-batches (stale synchronous parallel:
/// Ho et al. 2013), and servers apply each segment as it comes. Weights then depend on timing.
/// </summary>
public sealed record Consistency
{
    /// <summary>
    /// The most steps that a worker may be ahead of the slowest shard, in any mode: what servers keep count of, and what makes an
    /// asynchronous job wait at last for a worker that stands still.
    /// </summary>
    public const int MostAhead = 1024;

    private Consistency(int bound) => Bound = bound;

    /// <summary>Every step waits for the one before it.</summary>
    public static Consistency Sync { get; } = new(0);

    /// <summary>Without a bound but for <see cref="MostAhead"/>.</summary>
    public static Consistency Async { get; } = new(MostAhead - 1);

    /// <summary>Steps that a worker's weights may lack at the most; 0 where it is synchronous.</summary>
    public int Bound { get; }

    /// <summary>
    /// Where a step is a round of local SGD: each shard trains by itself for so many mini-batches; null where a step is one mini-batch.
    /// Steps wait for each other then.
    /// </summary>
    public LocalSgd? Local { get; init; }

    /// <summary>Whether all workers compute a step with the same weights.</summary>
    public bool IsSync => Bound == 0;

    /// <summary>Whether the job set no bound.</summary>
    public bool IsAsync => this == Async;

    /// <summary>Bounded staleness; a bound of 0 is <see cref="Sync"/>, whose bits don't depend on timing.</summary>
    /// <param name="bound">From 0 to <see cref="MostAhead"/> - 1.</param>
    public static Consistency Ssp(int bound)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bound);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(bound, MostAhead);
        return bound == 0 ? Sync : new Consistency(bound);
    }

    /// <summary>In words: <c>sync</c>, <c>async</c> or <c>ssp with a bound of 3 steps</c>.</summary>
    public override string ToString() => Local is { } local ? string.Create(CultureInfo.InvariantCulture, $"local_sgd over {local.Every} mini-batches") : IsSync ? "sync" : IsAsync ? "async" : string.Create(CultureInfo.InvariantCulture, $"ssp with a bound of {Bound} step{(Bound == 1 ? "" : "s")}");
}

/// <summary>Local SGD.</summary>
/// <param name="Every">Mini-batches of a round.</param>
/// <param name="Outer">
/// What the servers do with the mean of what the shards' weights moved by, taken for a gradient: plain SGD with a rate of 1 averages
/// the shards' weights; with Nesterov's momentum it is DiLoCo.
/// </param>
public sealed record LocalSgd(int Every, OptimizerSpec Outer)
{
    /// <summary>The most mini-batches of a round.</summary>
    public const int MostMiniBatches = 1 << 20;
}

/// <summary>How stale the weights were that segments were computed with, over all segments that servers applied.</summary>
/// <param name="Segments">How many.</param>
/// <param name="Sum">The sum of their staleness, in steps.</param>
/// <param name="Max">The largest.</param>
public readonly record struct Staleness(long Segments, long Sum, long Max)
{
    /// <summary>The mean, in steps; NaN without segments.</summary>
    public double Mean => (double)Sum / Segments;

    /// <summary>With one more segment: of step <paramref name="step"/>, computed with weights that held the steps below <paramref name="basis"/> whole.</summary>
    public Staleness With(long step, long basis)
    {
        long lacking = Math.Max(0, step - basis);
        return new(Segments + 1, Sum + lacking, Math.Max(Max, lacking));
    }

    /// <summary>Both together.</summary>
    public Staleness With(Staleness other) => new(Segments + other.Segments, Sum + other.Sum, Math.Max(Max, other.Max));
}
