using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;

namespace DistTrain.Training.Coordinator;

/// <summary>
/// The actor that turns membership into shard assignments, keeps the step clock, and calls evaluations and
/// checkpoints. It computes nothing. Phases: forming (members join), leading (servers accept the term and take their
/// partitions), training, collecting what members recorded of it, ending.
/// </summary>
public sealed partial class Coordinator : IActor
{
    private TrainingPlan _plan;
    private readonly IMembership _membership;
    private readonly ICoordinatorEvents _events;
    private readonly TimeProvider _time;
    private StepClock _clock;
    private readonly GrantPace _pace;
    private readonly Dictionary<IMemberLink, Session> _sessions = [];
    private readonly HashSet<long> _saved = [];
    private readonly HashSet<long> _asked = [];
    private readonly Action<long, long, byte[]> _expectCheckpoint;
    private readonly Func<(long Version, ReadOnlyMemory<byte> Record)> _goBack;
    private readonly long _began;
    private Phase _phase = Phase.Forming;
    private ClusterView _view = ClusterView.Empty;
    private List<Session> _servers = [];
    private List<Session?> _replicas = [];
    private ImmutableArray<int> _shares = [];
    private int _bucketLength;
    private readonly Dictionary<int, Traffic> _traffic = [];
    private NormsRound? _norms;
    private GradientWatch? _watch;
    private int _nextMember = 1;
    private long _term = 1;
    private long _evaluating = -1;
    private long _lastEvaluated;
    private Outcome? _outcome;
    private Staleness _staleness;

    /// <summary>Creates a coordinator that waits for members.</summary>
    /// <param name="plan">The job.</param>
    /// <param name="membership">Who is in.</param>
    /// <param name="events">Told what happens.</param>
    /// <param name="expectCheckpoint">Told the term and version of a checkpoint, and what its manifest is to hold of the coordinator's own state, before servers are asked for it.</param>
    /// <param name="time">The clock.</param>
    /// <param name="goBack">
    /// Forgets checkpoints that were asked for, and says which version servers can be given from now on, with what is kept of it of the
    /// coordinator's own state; null where only the plan's first version can be had.
    /// </param>
    public Coordinator(
        TrainingPlan plan, IMembership membership, ICoordinatorEvents events, Action<long, long, byte[]> expectCheckpoint, TimeProvider time,
        Func<(long Version, ReadOnlyMemory<byte> Record)>? goBack = null)
    {
        (_plan, _membership, _events, _expectCheckpoint, _time) = (plan, membership, events, expectCheckpoint, time);
        _goBack = goBack ?? (() => (plan.FirstVersion, plan.Evaluations.ToBytes()));
        _clock = NewClock();
        _pace = new GrantPace(time);
        _patience = new StepPatience(time);
        _judged = plan.Monitoring?.Begin(plan.Evaluations) ?? EvaluationRecord.Empty;
        _began = time.GetTimestamp();
    }

    private enum Phase
    {
        Forming,
        Regrouping,
        Accepting,
        Owning,
        Training,
        Collecting,
        Ending,
        Over,
    }

    private IEnumerable<Session> Workers =>
        _sessions.Values.Where(s => s.Member?.Role == MemberRole.Worker).OrderBy(s => s.Member!.Id.Value);

    /// <inheritdoc/>
    public ValueTask ReceiveAsync(object message, IActorContext context)
    {
        if (message is Tick) LookForStall();
        switch (message)
        {
            case LinkOpened opened:
                _sessions[opened.Link] = new Session(opened.Link);
                break;
            case LinkReceived received when _sessions.TryGetValue(received.Link, out Session? session):
                Receive(session, received.Message);
                break;
            case LinkClosed closed when _sessions.TryGetValue(closed.Link, out Session? session):
                Closed(session, closed.Cause);
                break;
            case ViewChanged changed:
                View(changed.View);
                break;
            case Tick when _phase == Phase.Forming:
                if (_plan.Recovers) LeadWhenComplete();
                if (_phase == Phase.Forming) Waited();
                break;
            case Tick when _phase == Phase.Regrouping:
                CheckPatience();
                break;
            case Tick when _phase == Phase.Training:
                CheckPatience();
                LookAtDisk();
                LookForStragglers();
                LookForLateVerification();
                break;
            case Tick when _phase == Phase.Collecting:
                if (_time.GetElapsedTime(_ending) > CollectTimeout) End();
                break;
            case Tick when _phase == Phase.Ending:
                EndOverdue();
                break;
            case CheckpointWritten written:
                _saved.Add(written.Version);
                if (written.Path is { } path) _events.Saved(written.Version, path);
                SettleCheckpoint(written.Version);
                TakeInServers();
                EndWhenDone();
                break;
            case CheckpointFailed failed:
                CheckpointNotWritten(failed);
                break;
            case ExplanationRequested:
                AskWhy();
                break;
            case StopRequested:
                Interrupt();
                break;
            case StopNow when _phase == Phase.Collecting:
                End();
                break;
            case StopNow when _phase < Phase.Ending:
                Finish(ExitCode.Interrupted, $"interrupted at step {_clock.Committed}, before a checkpoint was complete there");
                break;
        }

        return ValueTask.CompletedTask;
    }

    private void Receive(Session session, MemberMessage message)
    {
        switch (message)
        {
            case JoinRequest request when session.Member is null:
                if (_outcome is not null) Refuse(session, new Refused("the job is over", ExitCode.ClusterLost));
                else if (_view.Departures.FirstOrDefault(d => d.Member.Incarnation == request.Incarnation) is { } departure) Evict(session, departure.Cause);
                else if (_distrusted.Contains((request.Host, request.Pid))) Refuse(session, new Refused("what this process computed was wrong", ExitCode.Internal));
                else Refuse(session, session.Request(request, _plan));
                break;
            case JoinReady ready when session.Member is null:
                Admit(session, ready);
                break;
            case TermAccepted accepted when _phase == Phase.Accepting && accepted.Term == _term:
                Accept(session, accepted);
                break;
            case TermRefused refused when _phase == Phase.Accepting && refused.Term == _term && _candidates.Contains(session):
                Above(session, refused.HighestTerm);
                break;
            case PartitionReady ready when _phase == Phase.Owning && ready.Term == _term && session.Owns(ready.Partition):
                if (_owned.Add(session.Member!.Id) && _owned.Count == Voters) Begin();
                break;
            case PartitionReady ready when _phase == Phase.Training && ready.Term == _term && session.Owns(ready.Partition) && session.IsFilling:
                // Until now it was deaf to clocks, and the first copy may be waiting for it to get on.
                session.Link.Send(ClockNow());
                Follows(session, ready.Version);
                break;
            case StepApplied applied when applied.Term == _term && session.Owns(applied.Partition) && session.IsFilling:
                if (_phase == Phase.Training) Follows(session, applied.Step + 1);
                break;
            case StepApplied applied when applied.Term == _term && session.Owns(applied.Partition):
                _staleness = _staleness.With(new Staleness(applied.Segments, applied.StalenessSum, applied.StalenessMax));
                if (!session.IsReplica) _traffic[applied.Partition] = applied.Traffic;
                if (_clock.Applied(CopyOf(session), applied.Step, Voters)) Committed(applied.Stats);
                break;
            case StepReached reached when reached.Term == _term && session.Owns(reached.Partition):
                _clock.Reached(reached.Step);
                if (_phase == Phase.Training && _clock.Grant()) SendClock();
                break;
            case ShardsMissing missing when missing.Term == _term && session.Owns(missing.Partition) && _phase == Phase.Training:
                Missing(missing);
                break;
            case ShardComputed computed when computed.Term == _term && _phase == Phase.Training && session.Member is { Role: MemberRole.Worker }:
                Computed(session, computed);
                break;
            case NormsMeasured measured when measured.Term == _term && session.Owns(measured.Partition) && _norms is not null:
                if (_norms.Take(measured) is { } squares) Decide(measured.Step, squares);
                break;
            case Watched watched when watched.Term == _term && session.Owns(watched.Partition) && _watch is not null:
                if (_watch.Take(watched) is { } report) _events.Watched(report);
                break;
            case EvaluationReduced reduced when reduced.Term == _term && reduced.Version == _evaluating && session is { Partition: 0, IsReplica: false }:
                EvaluationDone(reduced);
                break;
            case ServerUnreachable unreachable when unreachable.Term == _term && _phase == Phase.Training && session.Member is { Role: MemberRole.Worker }:
                Unreachable(session, unreachable);
                break;
            case ServerUnreachable unreachable when unreachable.Term == _term && _phase == Phase.Training && session.Owns(unreachable.Partition) && !session.IsReplica:
                DropCopy(session, unreachable.Cause);
                break;
            case ServerReached reached when reached.Term == _term && _phase == Phase.Training && session.Unreachable.Remove(reached.Partition):
                if (session.Unreachable.Count == 0) Reassign();
                break;
            case Traced traced when _phase == Phase.Collecting && session.Member is not null:
                Collect(session, traced);
                break;
            case Explained explained when session.Member is not null:
                Answered(session, explained);
                break;
            case Leaving leaving:
                session.LastWords = $"left: {leaving.Reason}";
                if (session.Member is { Role: MemberRole.Server }) Leave(session);
                break;
            case Failed failed:
                session.LastWords = failed.Cause;
                if (session.Member is { } broken && failed.Exit is not ExitCode.ClusterLost) _broken.Add(broken.Id);
                if (_phase == Phase.Training && failed.Exit == ExitCode.Diverged) Finish(failed.Exit, failed.Cause);
                if (_phase == Phase.Forming && failed.Exit is ExitCode.BadData or ExitCode.BadUsage) Finish(failed.Exit, failed.Cause);
                break;
        }
    }

    private void Decide(long step, ImmutableArray<double> squares)
    {
        if (_plan.ScalesLoss && squares.Any(s => !double.IsFinite(s))) _events.Noted($"step {step}: the gradient overflowed in fp16; the step changes nothing but the loss scale, which halves");
        var decided = new NormsDecided(_term, step, squares);
        foreach (Session server in Holders) server.Link.Send(decided);
    }

    private void Committed(SegmentStats stats)
    {
        _plan.Trace.Mark(TraceName.Committed, _clock.Committed - 1);
        StepDone(_clock.Committed - 1);
        if (_verifying?.Step == _clock.Committed - 1) _verifying.Committed = _time.GetTimestamp();
        _events.Committed(_clock.Committed, stats);
        if (stats.WeightSum == 0) _events.Warn($"step {_clock.Committed - 1}: the total weight is zero, so the weights were left as they are");
        if (!double.IsFinite(stats.LossSum))
        {
            Finish(ExitCode.Diverged, $"training diverged: the loss at step {_clock.Committed - 1} is {stats.MeanLoss}; try a lower learning rate");
            return;
        }

        if (_clock.EvaluationDue) StartEvaluation();
        _pace.Committed();
        _clock.Ahead = _pace.Window;
        if (!_plan.Consistency.IsSync) _clock.Grant();
        if (!_plan.Consistency.IsSync || (_clock.GrantDue && _clock.Grant()) || IsReplicated) SendClock();
        TakeInServers();
        TakeInHand();
        EndWhenDone();
    }

    private void StartEvaluation()
    {
        _evaluating = _clock.Committed;
        ShareOutEvaluation();
        TakeInHand();
        foreach ((Session worker, ShardRange shards) in _evaluators)
        {
            worker.Link.Send(new Evaluate(_term, _evaluating, [.. Enumerable.Range(shards.Lo, shards.Length)]));
        }
    }

    private void EvaluationDone(EvaluationReduced reduced)
    {
        (_evaluating, _lastEvaluated) = (-1, reduced.Version);
        EvaluationOver();
        _clock.Evaluated(reduced.Version);
        _events.Evaluated(reduced.Version, reduced.Stats);
        Judge(reduced);
        if (_clock.Grant()) SendClock();
        TakeInServers();
        EndWhenDone();
    }

    // A slow disk holds back the checkpoint after the next, not the steps before it.
    private void SettleCheckpoint(long version)
    {
        Arrived(version);
        _clock.Settled(version);
        if (_phase == Phase.Training && _clock.Grant()) SendClock();
    }

    private void SendClock()
    {
        foreach (long version in _clock.Checkpoints)
        {
            if (_asked.Add(version)) Expect(version);
        }

        OrderVerification();
        TakeInHand();
        _plan.Trace.Mark(TraceName.Granted, _clock.Granted);
        Clock clock = ClockNow();
        foreach (Session session in _sessions.Values)
        {
            if (session.Member is { Role: MemberRole.Worker } || session.Partition >= 0) session.Link.Send(clock);
        }
    }

    private Clock ClockNow() => new(_term, _clock.Committed, _clock.Granted, _clock.Checkpoints, Record()) { RateFactor = _judged.Plateau.Factor };

    // What a successor needs beside what servers hold.
    private ReadOnlyMemory<byte> Record() => new CoordinatorRecord(_clock.Committed, _lastEvaluated, _judged, _events.Figures).ToBytes();

    private IEnumerable<(Session Worker, ShardRange Shards)> Assignments()
    {
        List<Session> workers = [.. Computing];
        return workers.Select((w, i) => (w, ShardSlice.ForWorker(_plan.Shards, workers.Count, i)));
    }

    private void Assign()
    {
        ForgetOrders();
        Dictionary<Session, ShardRange> shares = Assignments().ToDictionary(a => a.Worker, a => a.Shards);
        foreach (Session worker in Workers)
        {
            ShardRange shards = shares.GetValueOrDefault(worker);
            _assigned[worker.Member!.Id] = shards;
            worker.Link.Send(new Assignment(_term, [.. Enumerable.Range(shards.Lo, shards.Length)]));
        }
    }
}
