using DistTrain.Core;
using DistTrain.Core.Messages;

namespace DistTrain.Training.Coordinator;

/// <content>
/// How the job outlives its members. Workers: their shards go to others, from the step in hand on. Servers: who is left shares the model
/// out anew and goes back to the last checkpoint under a new term, which comes to the same bits. Too few to go on with: the job waits.
/// </content>
public sealed partial class Coordinator
{
    // After one that came to nothing, such as on a full disk.
    private const int StepsToAnotherHold = 100;

    private readonly HashSet<(ulong First, ulong Second)> _apart = [];
    private bool _begun;
    private long _heldNext;
    private long? _short;
    private Traffic _trafficBefore;
    private bool _interrupting;
    private bool _sharesOut;
    private NormsDecided? _decided;
    private long _heldTerm = -1;
    private CoordinatorRecord? _record;

    private IEnumerable<Session> Servers =>
        _sessions.Values.Where(s => s.Member?.Role == MemberRole.Server).OrderBy(s => s.Member!.Id.Value);

    /// <summary>The workers that get shards: none while there are too few, and none that a server can't be reached by.</summary>
    private IEnumerable<Session> Computing
    {
        get
        {
            List<Session> able = [.. Workers.Where(w => w.Unreachable.Count == 0)];
            return able.Count < _plan.FewestWorkers ? [] : able.Take(_plan.MostWorkers);
        }
    }

    // What there is to go on from, should the job end now.
    private string Standing
    {
        get
        {
            long version = _saved.Count > 0 ? _saved.Max() : _plan.FirstVersion;
            return version > 0 ? $"the checkpoint at step {version} stands" : "there is no checkpoint yet";
        }
    }

    private void Evict(Session session, string cause)
    {
        session.Link.Send(IsDistrusted(session) ? new Refused(cause, ExitCode.Internal) : new Evicted(cause));
        session.Link.Close();
        _sessions.Remove(session.Link);
    }

    private void Reassign()
    {
        Assign();
        DropVerification();
        if (_evaluating >= 0) StartEvaluation();
    }

    private void Unreachable(Session worker, ServerUnreachable report)
    {
        if (report.Partition < 0 || report.Partition >= _servers.Count) return;
        worker.Unreachable.Add(report.Partition);
        Session server = _servers[report.Partition];
        // A server that no worker reaches is no server, whatever it says itself.
        if (Workers.All(w => w.Unreachable.Contains(report.Partition)) || !Computing.Any())
        {
            _membership.Remove(server.Member!.Id, $"workers can't connect to it: {report.Cause}");
            return;
        }

        _events.Warn($"{worker.Member} can't connect to {server.Member} and gets no shards until it does: {report.Cause}");
        Reassign();
    }

    // All servers that hold something.
    private IEnumerable<Session> Holders => _servers.Concat(_replicas.OfType<Session>());

    // Whom a commit waits for.
    private int Voters => Holders.Count(h => !h.IsFilling);

    private bool IsReplicated => _replicas.Exists(r => r is not null);

    private int CopyOf(Session server) => server.Partition + (server.IsReplica ? _servers.Count : 0);

    private bool Holds(Session server, int partition) => server.Held is { } held && held.Term == _heldTerm && held.Partition == partition;

    // A server is gone: another term begins, with the copies that are left or from the last checkpoint.
    private void FallBack()
    {
        (_phase, _evaluating, _sharesOut, _verifying) = (Phase.Regrouping, -1, false, null);
        _interrupting |= _clock.EndsEarly;
        _patience.Done(counts: false);
        Regroup();
    }

    private void Regroup()
    {
        if (Servers.Any()) Lead();
        else CheckPatience();
    }

    // Every server has accepted the term and said what it holds.
    private void Place()
    {
        bool goesOn = _begun || _plan.Recovers;
        (long Version, ReadOnlyMemory<byte> Record) saved = goesOn ? _goBack() : default;
        if (!_begun && _plan.Recovers) Resume(saved.Version);
        bool keep = goesOn && !_sharesOut && TryKeep(saved.Version);
        _sharesOut = false;
        if (!keep && _begun && _interrupting)
        {
            Finish(ExitCode.Interrupted, $"interrupted at step {_clock.Committed}, where a server was lost; {Standing}");
            return;
        }

        if (!keep)
        {
            if (goesOn) GoBack(saved.Version, saved.Record);
            ShareOut();
        }

        _trafficBefore = _traffic.Values.Aggregate(_trafficBefore, (sum, one) => sum + one);
        _traffic.Clear();
        foreach (Session worker in Workers) worker.Unreachable.Clear();
        ForgetOrders();
        Own(keep);
    }

    // Goes on from where the servers are, if every partition is still there.
    private bool TryKeep(long saved)
    {
        List<Session> holders = [.. _candidates.Where(c => c.Held is not null)];
        if (holders.Count == 0) return false;
        _heldTerm = holders.Max(h => h.Held!.Term);
        holders.RemoveAll(h => h.Held!.Term != _heldTerm);
        HeldPartition any = holders[0].Held!;
        if (any.Partitions < 1 || holders.Any(h => h.Held!.Partitions != any.Partitions || h.Held.Partition < 0 || h.Held.Partition >= any.Partitions)) return false;
        var first = new List<Session>();
        for (int p = 0; p < any.Partitions; p++)
        {
            // Who was first has what the second may lack.
            if (holders.Where(h => h.Held!.Partition == p).OrderBy(h => h.Held!.IsReplica).FirstOrDefault() is not { } holder) return false;
            first.Add(holder);
        }

        long version = holders.Min(h => h.Held!.Version);
        Succeed(holders, version);
        // A best version whose checkpoint was lost on its way can only be had again from before it.
        if (_judged.Best is { } best && best.Version < version && _asked.Contains(best.Version) && !_saved.Contains(best.Version)) return false;
        List<Session?> second = [.. first.Select(f => holders.Find(h => h != f && h.Held!.Partition == f.Held!.Partition && !AreApart(f, h)))];
        FillUp(first, second);
        (_servers, _replicas, _bucketLength, _shares) = (first, second, any.BucketLength, any.Shares);
        _decided = holders.Select(h => h.Held!.Norms).OfType<NormsDecided>().FirstOrDefault(n => n.Step == version);
        bool due = _clock.IsDue(version) && !_saved.Contains(version);
        _plan = _plan with { FirstVersion = version };
        _clock = NewClock(evaluatesFirst: _lastEvaluated < version && IsEvaluated(version));
        if (due || (_judged.Best?.Version == version && !_saved.Contains(version))) _clock.Keep(version);
        foreach (Session ahead in _servers.Concat(_replicas.OfType<Session>()).Where(s => s.Held is { } held && held.Term == _heldTerm && held.Version > version))
        {
            _clock.IsAhead(first.Contains(ahead) ? ahead.Held!.Partition : first.Count + ahead.Held!.Partition);
        }

        if (!_begun) _events.Noted($"going on at step {version}, where the servers are");
        _asked.RemoveWhere(v => !_saved.Contains(v));
        return true;
    }

    // The word of the coordinator before this one, where servers have it.
    private void Resume(long saved)
    {
        if (saved > 0) _saved.Add(saved);
        if (_record is not { } record) return;
        (_judged, _lastEvaluated) = (_plan.Monitoring?.Begin(record.Evaluations) ?? EvaluationRecord.Empty, record.LastEvaluated);
        _plan = _plan with { FirstVersion = record.Committed, Evaluations = record.Evaluations };
        _clock = NewClock();
        _events.Resumed(record.Committed, record.Figures);
        _record = null;
    }

    // What was committed since the last word of the coordinator before, or since this one last heard of it.
    private void Succeed(List<Session> holders, long version)
    {
        for (long step = _clock.Committed; step < version; step++)
        {
            AppliedStep applied = holders.SelectMany(h => h.Held!.Applied).FirstOrDefault(a => a.Step == step);
            _events.Committed(step + 1, applied.Stats);
        }
    }

    // Servers that hold nothing become second copies.
    private void FillUp(List<Session> first, List<Session?> second)
    {
        if (_plan.Replicas == 0 || !_plan.Consistency.IsSync) return;
        for (int p = 0; p < first.Count; p++)
        {
            second[p] ??= ReplicaFor(first[p], _candidates.Where(c => !c.IsLeaving).Except(first).Except(second.OfType<Session>()));
        }
    }

    // What was computed since the last checkpoint is computed again.
    private void GoBack(long version, ReadOnlyMemory<byte> record)
    {
        long undone = _clock.Committed - version;
        _plan = _plan with { FirstVersion = version, Evaluations = EvaluationRecord.Parse(record) };
        _judged = _plan.Monitoring?.Begin(_plan.Evaluations) ?? EvaluationRecord.Empty;
        _clock = NewClock(evaluatesFirst: _lastEvaluated < version && IsEvaluated(version));
        _decided = null;
        _asked.Clear();
        _saved.RemoveWhere(v => v > version);
        _events.WentBack(version);
        int servers = _candidates.Count;
        string from = version == 0 ? "the beginning" : $"the checkpoint at step {version}";
        _events.Noted($"{servers} parameter server{(servers == 1 ? "" : "s")} of {_plan.Servers * (1 + _plan.Replicas)}: the job goes on from {from}{(undone > 1 ? $"; {undone} steps are computed again" : undone == 1 ? "; 1 step is computed again" : "")}");
    }

    private bool IsEvaluated(long version) => _plan.Evaluates && Evaluate.IsDue(version, _plan.StepsPerEpoch, _plan.TotalSteps);

    // There are servers that could do more. A second copy is made while training goes on, under another term; for a share of the model, and
    // where servers leave, all stop for a moment at a version that is saved.
    private void TakeInServers()
    {
        if (!_plan.Consistency.IsSync || _phase != Phase.Training || _clock.EndsEarly || _clock.Granted >= _plan.TotalSteps) return;
        bool leaves = Holders.Any(h => h.IsLeaving);
        if (!_clock.IsHeld)
        {
            bool idle = Servers.Any(s => s.Partition < 0);
            if (idle && !leaves && !CanShareOutMore() && CanHaveMoreCopies())
            {
                // What is under way would have to begin anew.
                if (_evaluating < 0 && _verifying is null && !_clock.Saves) FallBack();
                return;
            }

            if (_clock.Committed < _heldNext || !(leaves || (idle && CanShareOutMore()))) return;
            _clock.Hold();
            if (_clock.IsHeld) SendClock();
        }

        if (_clock.IsHeld && _clock.Committed == _clock.Granted && _saved.Contains(_clock.Committed) && _evaluating < 0)
        {
            if (leaves)
            {
                foreach (Session server in Holders.Where(h => h.IsLeaving).ToList()) LetGo(server);
                return;
            }

            _sharesOut = CanShareOutMore();
            Lead();
        }
    }

    // A server goes when others have its partition, or could have it from a checkpoint that loses no step.
    private void Leave(Session server)
    {
        if (_outcome is not null) return;
        server.IsLeaving = true;
        bool holds = server.Partition >= 0 && _phase is Phase.Accepting or Phase.Owning or Phase.Training;
        if (!holds || !_plan.Consistency.IsSync || _replicas[server.Partition] is not null) LetGo(server);
        else TakeInServers();
    }

    private void LetGo(Session server) => _membership.Remove(server.Member!.Id, server.LastWords!);

    // A second copy in the making has got as far as this. It counts from when it has reached what is committed: no later commit is without it.
    private void Follows(Session copy, long version)
    {
        copy.Reached = Math.Max(copy.Reached, version);
        if (copy.Reached < _clock.Committed) return;
        copy.IsFilling = false;
        _clock.Joined(CopyOf(copy), copy.Reached);
        _clock.CopiesAreMade = Holders.Any(h => h.IsFilling);
        _events.Noted($"{copy.Member} has the second copy of partition {copy.Partition} from step {copy.Reached} on");
        copy.Link.Send(new CopyCounts(_term));
        _servers[copy.Partition].Link.Send(new CopyCounts(_term));
        _clock.Grant();
        SendClock();
    }

    private bool CanShareOutMore() => Servers.Count() / (1 + _plan.Replicas) > _servers.Count && _servers.Count < Math.Min(_plan.Servers, _plan.MostPartitions);

    private bool CanHaveMoreCopies()
    {
        if (_plan.Replicas == 0) return false;
        List<Session> free = [.. Servers.Where(s => s.Partition < 0)];
        return _servers.Where((_, p) => _replicas[p] is null).Any(first => ReplicaFor(first, free) is not null);
    }

    private Session? ReplicaFor(Session first, IEnumerable<Session> free) =>
        Copies.ReplicaFor(first, free.Where(s => !AreApart(first, s)));

    private bool AreApart(Session first, Session second) => _apart.Contains((first.Member!.Incarnation, second.Member!.Incarnation));

    // The first copy has no way to the second: it goes on without, and with another where there is one.
    private void DropCopy(Session first, string cause)
    {
        if (_replicas[first.Partition] is not { } copy) return;
        _apart.Add((first.Member!.Incarnation, copy.Member!.Incarnation));
        _events.Warn($"{first.Member} can't connect to {copy.Member}, which is no second copy of partition {first.Partition} any more: {cause}");
        FallBack();
    }

    // Says once who is missing; ends the job when they don't come.
    private void CheckPatience()
    {
        string? missing = _phase == Phase.Regrouping ? "a parameter server" : Computing.Any() ? null : Lacking();
        if (missing is null || _outcome is not null)
        {
            _short = null;
            return;
        }

        if (_short is null)
        {
            _short = _time.GetTimestamp();
            _events.Warn($"waiting for {missing}, for {_plan.RejoinTimeout.TotalSeconds:0} s at most; {Standing}");
        }
        else if (_time.GetElapsedTime(_short.Value) >= _plan.RejoinTimeout)
        {
            Finish(ExitCode.ClusterLost, $"waited {_plan.RejoinTimeout.TotalSeconds:0} s for {missing}; {Standing}");
        }

        string Lacking()
        {
            int more = _plan.FewestWorkers - Workers.Count(w => w.Unreachable.Count == 0);
            return more == 1 ? "a worker" : $"{more} workers";
        }
    }
}
