using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;

namespace DistTrain.Training.Coordinator;

/// <content>How the cluster forms: handshakes, the term, partitions, the first assignment.</content>
public sealed partial class Coordinator
{
    internal const long MostTerm = long.MaxValue / 2;

    private readonly HashSet<MemberId> _accepted = [];
    private readonly HashSet<MemberId> _owned = [];
    private List<Session> _candidates = [];

    private void Admit(Session session, JoinReady ready)
    {
        if (session.Ready(ready, _plan, new MemberId(_nextMember), _term) is { } refused)
        {
            Refuse(session, refused);
            return;
        }

        _nextMember++;
        _membership.Admit(session.Member!);
        _events.Joined(session.Member!);
        if (ready.HighestTerm >= _term) GoAbove(ready.HighestTerm);
        if (_phase == Phase.Forming) LeadWhenComplete();
        else if (_phase == Phase.Regrouping) Regroup();
        // It may hold what the others lack, and must accept the term before it gets anything.
        else if (_phase == Phase.Accepting && session.Member!.Role == MemberRole.Server) Lead();
        else if (_phase == Phase.Training && session.Member!.Role == MemberRole.Worker) TakeIn(session);
    }

    private void Refuse(Session session, Refused? refused)
    {
        if (refused is null) return;
        session.Link.Send(refused);
        session.Link.Close();
        _sessions.Remove(session.Link);
        _events.Warn(refused.Reason);
    }

    private void LeadWhenComplete()
    {
        int servers = Servers.Count(), workers = Workers.Count();
        // A successor goes on with those who are left, after the time that others may take to find it.
        bool enough = _plan.Recovers && servers > 0 && workers >= _plan.FewestWorkers && _time.GetElapsedTime(_began) >= _plan.FailureTimeout;
        if (!enough && (servers < _plan.Servers * (1 + _plan.Replicas) || workers < _plan.Workers)) return;
        if (_plan.MostPartitions < _plan.Servers) _events.Warn($"the model has {_plan.MostPartitions} blocks to share out: {_plan.Servers - _plan.MostPartitions} of {_plan.Servers} servers own nothing");
        Lead();
    }

    // Whenever servers change, but where partitions are gone on with: a checkpoint knows none.
    private void ShareOut()
    {
        (List<Session> first, List<Session?> second) = Copies.Of(_candidates, Math.Min(_plan.Servers, _plan.MostPartitions), _plan.Replicas);
        (_servers, _replicas) = (first, second);
        List<Session> everybody = [.. _servers, .. Workers];
        List<(string, string)> machines = [.. everybody.Select(s => s.Machine).Distinct()];
        ImmutableArray<MachineLoad> loads =
        [
            .. machines.Select(m => new MachineLoad(Workers.Count(w => w.Machine == m), _servers.Count(s => s.Machine == m), everybody.Where(s => s.Machine == m).Max(s => s.Speed.BytesPerSecond))),
        ];
        _shares = LinkShares.Parted(loads, [.. _servers.Select(s => machines.IndexOf(s.Machine))]);
        LinkSpeed slowest = everybody.Aggregate(_plan.Local, (worst, s) => LinkSpeed.Worse(worst, s.Speed));
        _bucketLength = _plan.BucketLength ?? BucketChoice.Length(_plan.Layout!, _servers.Count, slowest);
        if (_shares.Distinct().Skip(1).Any()) _events.Noted($"the servers' shares of the model, by their links: {string.Join(", ", _servers.Select((s, i) => $"{s.Member} {100.0 * _shares[i] / _shares.Sum(x => (long)x):0.#} %"))}");
    }

    // Leads only once every server has accepted the term. One that knows a higher one makes us go above it.
    private void Lead()
    {
        _phase = Phase.Accepting;
        _term++;
        _accepted.Clear();
        _candidates = [.. Servers];
        foreach (Session server in _candidates)
        {
            server.Held = null;
            server.Link.Send(new AcceptTerm(_term));
        }
    }

    private void Accept(Session server, TermAccepted accepted)
    {
        server.Held = accepted.Held;
        if (accepted.Held is not null && CoordinatorRecord.Parse(accepted.Record) is { } record && record.Committed >= (_record?.Committed ?? 0)) _record = record;
        if (_candidates.Contains(server) && _accepted.Add(server.Member!.Id) && _accepted.Count == _candidates.Count) Place();
    }

    // A term that is lower, or that nothing goes above, is none that a server can have accepted.
    private void Above(Session server, long highest)
    {
        if (highest < _term || highest > MostTerm)
        {
            _membership.Remove(server.Member!.Id, $"it refuses term {_term} and says that it has accepted {highest}");
            return;
        }

        _term = highest;
        Lead();
    }

    // A worker outlives all servers that knew the term it is in, which would be deaf to any that isn't higher.
    private void GoAbove(long heard)
    {
        _term = heard;
        if (_phase is Phase.Accepting or Phase.Owning or Phase.Training) FallBack();
    }

    private void Own(bool keep)
    {
        _phase = Phase.Owning;
        _owned.Clear();
        foreach (Session session in _sessions.Values) (session.Partition, session.IsReplica, session.IsFilling, session.Reached) = (-1, false, false, -1);
        for (int p = 0; p < _servers.Count; p++)
        {
            var own = new OwnPartition(_term, p, _servers.Count, _bucketLength, _plan.FirstVersion) { Shares = _shares, Keep = keep, Replicated = IsReplicated };
            Session? replica = _replicas[p];
            bool fills = replica is not null && keep && !Holds(replica, p);
            // Some buckets may be a step ahead already.
            own = own with { CopyAt = fills ? _plan.FirstVersion + 1 : 0 };
            Tell(_servers[p], own with { Replica = replica is null ? null : Address(replica, p) });
            if (replica is null) continue;
            Tell(replica, own with { IsReplica = true, Keep = keep && !fills });
            replica.IsFilling = fills;
        }

        _clock.CopiesAreMade = Holders.Any(h => h.IsFilling);

        void Tell(Session server, OwnPartition own)
        {
            (server.Partition, server.IsReplica) = (own.Partition, own.IsReplica);
            server.Link.Send(own);
        }
    }

    private void Begin()
    {
        _phase = Phase.Training;
        if (_plan.Watched is { } watched) _watch = new GradientWatch(watched, _servers.Count);
        if (_plan.NormedLayout is { } layout) _norms = new NormsRound(layout, _servers.Count, _plan.NormedVectors);
        if (!_begun)
        {
            _events.Started(Workers.Count(), _servers.Count);
            if (Workers.Any() && ShardShares.Doubt(_plan.Shards, Math.Min(Workers.Count(), _plan.MostWorkers)) is { } doubt) _events.Warn(doubt);
            if (_plan.Verify > 0 && Workers.Count() < 2) _events.Warn("shards are compared between workers, and there is one: none is verified");
        }

        _begun = true;
        BeginJudging();
        BeginSaving();
        if (_interrupting) _clock.EndEarly();
        _clock.Grant();
        foreach (Session server in _decided is null ? [] : Holders) server.Link.Send(_decided! with { Term = _term });
        foreach (Session worker in Workers) worker.Link.Send(Topology());
        Assign();
        if (_clock.EvaluationDue) StartEvaluation();
        SendClock();
        EndWhenDone();
    }

    // A worker that comes while training goes on: everybody's share changes from the step in hand on.
    private void TakeIn(Session worker)
    {
        worker.Link.Send(Topology());
        Reassign();
        SendClock();
    }

    private Topology Topology() =>
        new(_term, _bucketLength, [.. _servers.Select((s, p) => Address(s, p))]) { Shares = _shares, Replicated = IsReplicated };

    private static ServerAddress Address(Session server, int partition) => new(partition, server.Member!.Id, server.Member.Endpoint);

    private void Waited()
    {
        int workers = Workers.Count(), servers = _sessions.Values.Count(s => s.Member?.Role == MemberRole.Server);
        string missing = string.Join(" and ", new[] { Missing(workers, _plan.Workers, "worker"), Missing(servers, _plan.Servers * (1 + _plan.Replicas), "server") }.OfType<string>());
        TimeSpan waited = _time.GetElapsedTime(_began);
        if (waited < _plan.JoinTimeout) _events.Waiting($"waiting for {missing}");
        else Finish(ExitCode.ClusterLost, $"the cluster could not form: waited {waited.TotalSeconds:0} s for {missing}");
    }

    private static string? Missing(int present, int wanted, string what) =>
        present >= wanted ? null : $"{wanted - present} of {wanted} {what}{(wanted == 1 ? "" : "s")}";
}
