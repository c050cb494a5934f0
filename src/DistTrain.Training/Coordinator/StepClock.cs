using System.Collections.Immutable;
using DistTrain.Core.Messages;

namespace DistTrain.Training.Coordinator;

/// <summary>
/// The step clock: which version is committed, and how far steps are granted. Steps are granted a few ahead of the
/// last commit, so that nobody waits for the coordinator, but never past a version that is still to be evaluated.
/// </summary>
internal sealed class StepClock(TrainingPlan plan, bool evaluatesFirst = false)
{
    /// <summary>Steps granted ahead, at least. Two keep workers busy; the others hide a slow coordinator. Ctrl-C waits for them.</summary>
    public const int Window = 4;

    // One checkpoint being written and one being collected; memory for more is not to be had.
    private const int MostUnsettled = 2;

    private readonly Dictionary<long, HashSet<int>> _applied = [];
    private readonly HashSet<long> _unsettled = [];
    private readonly HashSet<long> _skipped = [];
    private readonly HashSet<long> _timed = [];
    // A job that resumes at its end is evaluated once more: there is nothing else to report.
    private long _evaluated = plan.FirstVersion == plan.TotalSteps || IsUnjudged(plan) || evaluatesFirst ? plan.FirstVersion - 1 : plan.FirstVersion;
    private long? _end;
    private bool _stopped;
    private long _kept = -1;
    private long _admitted = -1;
    private long _reached = plan.FirstVersion - 1;

    /// <summary>Whether a step's shards are computed twice: nothing beyond it is granted before <see cref="Verified"/>.</summary>
    public Func<long, bool>? Verifies { get; init; }

    /// <summary>
    /// Whether what is being written takes so long that a version is rather left unsaved than waited for; told which. Null for never.
    /// </summary>
    public Func<long, bool>? LeavesOut { get; init; }

    /// <summary>The granted step that is being verified; null for none.</summary>
    public long? Verifying { get; private set; }

    /// <summary>Every partition has reached this version.</summary>
    public long Committed { get; private set; } = plan.FirstVersion;

    /// <summary>The first step that isn't granted.</summary>
    public long Granted { get; private set; } = plan.FirstVersion;

    /// <summary>The version at which training ends.</summary>
    public long End => _end ?? plan.TotalSteps;

    /// <summary>True when the committed version is to be evaluated now.</summary>
    public bool EvaluationDue => IsEvaluated(Committed) && Committed > _evaluated && _end is null;

    /// <summary>True when training ends before its time because somebody wants it to.</summary>
    public bool EndsEarly => _end is not null && !_stopped;

    /// <summary>
    /// Versions to be saved at or above the committed one, within the grant. What is judged by its evaluation is saved after
    /// it, because its checkpoint holds what followed; what a verified step comes to, after that.
    /// </summary>
    public ImmutableArray<long> Checkpoints =>
        [.. Range(Committed, Granted).Where(v => IsSaved(v) && (!IsJudged(v) || v == _admitted || EndsEarly) && v - 1 != Verifying)];

    /// <summary>
    /// A partition applied a step; true when that committed it. Reports of one partition come in order, but those of
    /// several may be steps apart: a server publishes before it reports, so another's next step can be heard of first. Nobody
    /// applies what isn't granted.
    /// </summary>
    public bool Applied(int partition, long step, int partitions)
    {
        if (step < Committed || step >= Granted) return false;
        if (!_applied.TryGetValue(step, out HashSet<int>? reached)) _applied[step] = reached = [];
        if (!reached.Add(partition) || reached.Count < partitions) return false;
        _applied.Remove(step);
        Committed = step + 1;
        return true;
    }

    /// <summary>A copy of a partition that is gone on with stands a step beyond the committed version.</summary>
    public void IsAhead(int copy) => _applied[Committed] = [.. _applied.GetValueOrDefault(Committed) ?? [], copy];

    /// <summary>A copy counts from now on, which has reached the committed version or more.</summary>
    public void Joined(int copy, long reached)
    {
        for (long step = Committed; step < reached; step++) _applied[step] = [.. _applied.GetValueOrDefault(step) ?? [], copy];
    }

    /// <summary>
    /// Whether copies are being made that may be behind: what an evaluation decides of the steps beyond it must not reach them before those
    /// up to it are done.
    /// </summary>
    public bool CopiesAreMade { get; set; }

    /// <summary>Whether a checkpoint is on its way that the interval asks for.</summary>
    public bool Saves => _unsettled.Count > 0 && (plan.CheckpointEvery is 0 or > 2 * Window);

    /// <summary>Somebody got as far as this step, where they don't wait for each other.</summary>
    public void Reached(long step) => _reached = Math.Max(_reached, step);

    /// <summary>Steps granted ahead.</summary>
    public int Ahead { get; set; } = Window;

    /// <summary>Whether so few of the granted steps are left that it is time for more.</summary>
    public bool GrantDue => Granted - Committed <= Ahead / 2;

    /// <summary>Grants as far as may be; true when that changed anything.</summary>
    public bool Grant()
    {
        if (IsHeld || Verifying is not null) return false;
        if (CopiesAreMade && IsJudged(Committed) && Committed == Granted && Committed > plan.FirstVersion) return false;
        bool admits = _admitted != Committed && Committed == Granted && IsJudged(Committed) && Committed <= _evaluated && IsSaved(Committed) && !EndsEarly;
        if (admits && _unsettled.Count == MostUnsettled)
        {
            if (!TryLeaveOut(Committed)) return false;
            admits = false;
        }

        if (admits) _unsettled.Add(_admitted = Committed);
        long until = Math.Min(Furthest, End);
        long pending = Range(Math.Max(Committed, _evaluated + 1), until).FirstOrDefault(IsEvaluated, until);
        // All stand at a version that is saved before anything beyond it is applied: where steps don't wait for each other, they have to be made to.
        if (!plan.Consistency.IsSync) until = Range(Committed + 1, until).FirstOrDefault(IsSaved, until);
        until = Math.Min(until, _end is null ? pending : until);
        long? verified = Verifies is null ? null : Range(Granted, until - 1).Cast<long?>().FirstOrDefault(s => Verifies(s!.Value));
        until = Math.Min(until, verified + 1 ?? until);
        foreach (long version in Range(Granted + 1, until).Where(v => IsSaved(v) && !IsJudged(v)))
        {
            if (_unsettled.Count == MostUnsettled)
            {
                if (TryLeaveOut(version)) continue;
                until = version - 1;
                break;
            }

            _unsettled.Add(version);
        }

        if (until <= Granted) return admits;
        Verifying = verified < until ? verified : null;
        Granted = until;
        return true;
    }

    /// <summary>A checkpoint is written, or has failed.</summary>
    public void Settled(long version) => _unsettled.Remove(version);

    /// <summary>A step's shards were compared, or won't be.</summary>
    public void Verified(long step) => Verifying = Verifying == step ? null : Verifying;

    /// <summary>The evaluation of the committed version is done.</summary>
    public void Evaluated(long version) => _evaluated = Math.Max(_evaluated, version);

    /// <summary>Has the committed version saved, which was just evaluated, whatever the interval.</summary>
    public void Keep(long version) => _kept = version;

    /// <summary>Has the first version saved that isn't granted yet: all hear of it in time.</summary>
    public void SaveNext()
    {
        if (Granted < End) _timed.Add(Granted + 1);
    }

    /// <summary>Whether the interval has a version saved.</summary>
    public bool IsDue(long version) => IsSaved(version);

    /// <summary>Whether nothing is granted beyond what is.</summary>
    public bool IsHeld { get; private set; }

    /// <summary>Grants nothing more, and has what is granted saved: all come to stand there.</summary>
    public void Hold()
    {
        // A version that is judged is saved after its evaluation, before which nothing more is granted anyway.
        if (!IsJudged(Granted)) (IsHeld, _kept) = (true, Granted);
    }

    /// <summary>If this is the version at which all were to stand, it was not saved: steps go on.</summary>
    public bool LetGo(long version)
    {
        if (!IsHeld || _kept != version) return false;
        (IsHeld, _kept) = (false, -1);
        return true;
    }

    /// <summary>Ends training at the committed version: nothing beyond it is granted, and it needs no more evaluation.</summary>
    public void Stop()
    {
        (_end, _stopped) = (Committed, true);
        Evaluated(Committed);
    }

    /// <summary>
    /// Ends training at what is granted already, or where workers have to know of the saving a step behind it: nothing more is granted
    /// or evaluated.
    /// </summary>
    public void EndEarly()
    {
        // What is granted to the very end ends as it would have, with its evaluation.
        if (Granted < plan.TotalSteps) _end ??= Granted + (plan.ForetellsSaving ? 1 : 0);
    }

    // A step may be begun when all of those up to the bound before it are committed. But no further than anybody comes soon:
    // what is granted has to be finished, also after Ctrl-C.
    private long Furthest => plan.Consistency.IsSync
        ? Committed + Ahead
        : Math.Min(Committed + 1 + plan.Consistency.Bound, Math.Max(Committed, _reached + 1) + Window);

    private bool TryLeaveOut(long version)
    {
        // What workers send on the way to a version depends on its being saved, where they hold some of it back.
        if (version == End || version == _kept || plan.ForetellsSaving || LeavesOut?.Invoke(version) != true) return false;
        return _skipped.Add(version);
    }

    private bool IsSaved(long version) => version == End || version == _kept || (!_skipped.Contains(version) && IsDueAt(version));

    private bool IsDueAt(long version) => _timed.Contains(version) || (plan.CheckpointEvery > 0 && version % plan.CheckpointEvery == 0 && version > plan.FirstVersion);

    private bool IsEvaluated(long version) => IsEvaluated(plan, version);

    private bool IsJudged(long version) => plan.Monitoring is not null && IsEvaluated(version);

    private static bool IsEvaluated(TrainingPlan plan, long version) => plan.Evaluates && Evaluate.IsDue(version, plan.StepsPerEpoch, plan.TotalSteps);

    // A checkpoint that Ctrl-C left before its evaluation.
    private static bool IsUnjudged(TrainingPlan plan) =>
        plan.Monitoring is not null && plan.FirstVersion > plan.Evaluations.Version && IsEvaluated(plan, plan.FirstVersion);

    private static IEnumerable<long> Range(long from, long to)
    {
        for (long v = from; v <= to; v++) yield return v;
    }
}
