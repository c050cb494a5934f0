using DistTrain.Core;
using DistTrain.Core.Memory;
using DistTrain.Core.Messages;
using DistTrain.Core.Tracing;

namespace DistTrain.Training.Coordinator;

/// <summary>One link to somebody who wants to be, or is, a member: the join handshake and what is known of them.</summary>
internal sealed class Session(IMemberLink link)
{
    private JoinRequest? _request;

    public IMemberLink Link => link;

    /// <summary>The member; null before the handshake is done.</summary>
    public Member? Member { get; private set; }

    /// <summary>What its link to this machine does; not known where there is none in between.</summary>
    public LinkSpeed Speed { get; private set; }

    /// <summary>The machine that it is on, as far as can be told.</summary>
    public (string Host, string Identity) Machine => (_request!.Host, _request.HostIdentity);

    /// <summary>What it recorded, as far as it has come; null before it was asked.</summary>
    public TraceTrack? Track { get; set; }

    /// <summary>Whether memory can be shared with it, so that it has this machine's clock.</summary>
    public bool IsHere => _request is { HostIdentity.Length: > 0 } request && request.HostIdentity == HostIdentity.Own;

    /// <summary>The partition that a server owns, or has the second copy of; -1 for none.</summary>
    public int Partition { get; set; } = -1;

    /// <summary>Whether it has the second copy of its partition.</summary>
    public bool IsReplica { get; set; }

    /// <summary>Whether its second copy is still being made, so that commits don't wait for it.</summary>
    public bool IsFilling { get; set; }

    /// <summary>The version that a second copy in the making has reached; -1 before it has all of the partition.</summary>
    public long Reached { get; set; }

    /// <summary>Whether it is to go as soon as others have what it holds.</summary>
    public bool IsLeaving { get; set; }

    /// <summary>What a server had from the term before, when it accepted this one.</summary>
    public HeldPartition? Held { get; set; }

    /// <summary>Whether the end of one process is the end of both: they must not hold the same partition.</summary>
    public bool SharesProcessWith(Session other) => Member!.Pid == other.Member!.Pid && Member.Host == other.Member.Host;

    /// <summary>Whether it is the server of a partition: nobody else's reports of it count.</summary>
    public bool Owns(int partition) => partition >= 0 && partition == Partition;

    /// <summary>Partitions whose servers it can't connect to.</summary>
    public SortedSet<int> Unreachable { get; } = [];

    /// <summary>What it said before its link closed, which is nearer to the cause than the closing.</summary>
    public string? LastWords { get; set; }

    /// <summary>"worker 3 (pid 412 on lab-2)", or the address of somebody who never said who they are.</summary>
    public string Name => Member?.ToString() ?? (_request is { } r ? $"{r.Role.ToString().ToLowerInvariant()} (pid {r.Pid} on {r.Host})" : link.Remote);

    /// <summary>First message: offers the job, or refuses another protocol or numerics revision.</summary>
    public Refused? Request(JoinRequest request, TrainingPlan plan)
    {
        _request = request;
        if (request.ProtocolVersion != Protocol.Version)
        {
            return Refuse($"it speaks protocol version {request.ProtocolVersion}, this job {Protocol.Version}");
        }

        if (request.NumericsRevision != plan.NumericsRevision)
        {
            return Refuse($"its kernels are of numerics revision {request.NumericsRevision}, this job's of {plan.NumericsRevision}: the bits would differ");
        }

        link.Send(new JobOffer(plan.JobText, plan.JobHash, plan.DataHash, plan.Data) { TraceEvents = plan.Trace?.Capacity ?? 0 });
        return null;
    }

    /// <summary>Second message: admits, or refuses another job or other data.</summary>
    public Refused? Ready(JoinReady ready, TrainingPlan plan, MemberId id, long term)
    {
        if (_request is null) return Refuse("it did not ask to join first");
        if (ready.JobHash != plan.JobHash) return Refuse($"it reads the job as {Short(ready.JobHash)}, the coordinator as {Short(plan.JobHash)}");
        if (_request.Role == MemberRole.Worker && ready.DataHash != plan.DataHash)
        {
            return Refuse($"its data is {Short(ready.DataHash)}, the coordinator's {Short(plan.DataHash)}: the files differ");
        }

        if (ready.HighestTerm > Coordinator.MostTerm) return Refuse($"it says that it has heard of term {ready.HighestTerm}");
        Member = new Member(id, _request.Role, _request.Host, _request.Pid, _request.Incarnation, _request.Endpoint) { HostIdentity = _request.HostIdentity };
        link.Member = id;
        Speed = ready.Link;
        link.Send(new Welcome(id, term, plan.FailureTimeout));
        return null;
    }

    private static string Short(string hash) => hash.Length > 12 ? hash[..12] + "…" : hash.Length == 0 ? "(none)" : hash;

    private Refused Refuse(string why) => new($"{Name} is refused: {why}", ExitCode.BadData);
}
