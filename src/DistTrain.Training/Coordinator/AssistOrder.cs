using System.Collections.Immutable;
using DistTrain.Core;

namespace DistTrain.Training.Coordinator;

/// <summary>Shards that are computed a second time in the steps [Step, Until), because their own workers lag.</summary>
internal sealed record AssistOrder(long Step, long Until, ImmutableHashSet<MemberId> Lagging, ImmutableSortedSet<int> Shards)
{
    /// <summary>
    /// The most steps of one order. Then a step goes without, which shows whether the worker still lags: at worst it costs
    /// every 33rd step its patience, and a worker that is well again is doubled for no longer than that.
    /// </summary>
    public const int MostSteps = 32;

    /// <summary>Whether it holds at a step.</summary>
    public bool Covers(long step) => step >= Step && step < Until;

    /// <summary>For how many steps the next order is: twice as many when the same workers lag again as soon as they are left alone.</summary>
    public static long StepsAfter(AssistOrder? last, long step, IEnumerable<MemberId> lagging) =>
        last is not null && step == last.Until && last.Lagging.Overlaps(lagging) ? Math.Min(MostSteps, 2 * (last.Until - last.Step)) : 1;
}
