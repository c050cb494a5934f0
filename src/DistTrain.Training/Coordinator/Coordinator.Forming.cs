using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;

namespace DistTrain.Training.Coordinator;

/// <content>How the cluster forms: handshakes, the term, partitions, the first assignment.</content>
public sealed partial class Coordinator
{
    private readonly HashSet<int> _accepted = [];
    private readonly HashSet<int> _owned = [];

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
        if (_phase == Phase.Forming) LeadWhenComplete();
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
        List<Session> servers = [.. _sessions.Values.Where(s => s.Member?.Role == MemberRole.Server).OrderBy(s => s.Member!.Id.Value)];
        if (servers.Count < _plan.Servers || Workers.Count() < _plan.Workers) return;
        _servers = servers[..Math.Min(servers.Count, Math.Min(_plan.Servers, _plan.MostPartitions))];
        for (int p = 0; p < _servers.Count; p++) _servers[p].Partition = p;
        if (_servers.Count < _plan.Servers) _events.Warn($"the model has {_plan.MostPartitions} blocks to share out: {_plan.Servers - _servers.Count} of {_plan.Servers} servers own nothing");
        ShareOut();
        Lead();
    }

    // Once, because a checkpoint doesn't hold them: whoever resumes shares out anew.
    private void ShareOut()
    {
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

    // Leads only once every partition has accepted the term. A server that knows a higher one makes us go above it.
    private void Lead()
    {
        _phase = Phase.Accepting;
        _term++;
        _accepted.Clear();
        foreach (Session server in _servers) server.Link.Send(new AcceptTerm(_term));
    }

    private void Own()
    {
        _phase = Phase.Owning;
        _owned.Clear();
        foreach (Session server in _servers)
        {
            server.Link.Send(new OwnPartition(_term, server.Partition, _servers.Count, _bucketLength, _plan.FirstVersion) { Shares = _shares });
        }
    }

    private void Begin()
    {
        _phase = Phase.Training;
        if (_plan.Watched is { } watched) _watch = new GradientWatch(watched, _servers.Count);
        if (_plan.NormedLayout is { } layout) _norms = new NormsRound(layout, _servers.Count, _plan.NormedVectors);
        _events.Started(Workers.Count(), _servers.Count);
        if (ShardShares.Doubt(_plan.Shards, Workers.Count()) is { } doubt) _events.Warn(doubt);
        BeginJudging();
        _clock.Grant();
        foreach (Session worker in Workers) worker.Link.Send(Topology());
        Assign();
        if (_clock.EvaluationDue) StartEvaluation();
        SendClock();
    }

    // A worker that comes while training goes on: everybody's share changes from the step in hand on.
    private void TakeIn(Session worker)
    {
        worker.Link.Send(Topology());
        Assign();
        if (_evaluating >= 0) StartEvaluation();
        SendClock();
    }

    private Topology Topology() =>
        new(_term, _bucketLength, [.. _servers.Select(s => new ServerAddress(s.Partition, s.Member!.Id, s.Member.Endpoint))]) { Shares = _shares };

    private void Waited()
    {
        int workers = Workers.Count(), servers = _sessions.Values.Count(s => s.Member?.Role == MemberRole.Server);
        string missing = string.Join(" and ", new[] { Missing(workers, _plan.Workers, "worker"), Missing(servers, _plan.Servers, "server") }.OfType<string>());
        TimeSpan waited = _time.GetElapsedTime(_began);
        if (waited < _plan.JoinTimeout) _events.Waiting($"waiting for {missing}");
        else Finish(ExitCode.ClusterLost, $"the cluster could not form: waited {waited.TotalSeconds:0} s for {missing}");
    }

    private static string? Missing(int present, int wanted, string what) =>
        present >= wanted ? null : $"{wanted - present} of {wanted} {what}{(wanted == 1 ? "" : "s")}";
}
