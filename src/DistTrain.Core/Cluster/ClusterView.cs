using System.Collections.Immutable;

namespace DistTrain.Core;

/// <summary>The part that a member plays.</summary>
public enum MemberRole
{
    /// <summary>Computes gradients.</summary>
    Worker,

    /// <summary>Owns a partition of the parameters.</summary>
    Server,
}

/// <summary>A member's number within its job; never used twice, so a process that comes back has a new one.</summary>
public readonly record struct MemberId(int Value)
{
    /// <inheritdoc/>
    public override string ToString() => Value.ToString();
}

/// <summary>A process of the cluster.</summary>
/// <param name="Id">Its number.</param>
/// <param name="Role">Worker or server.</param>
/// <param name="Host">The machine's name.</param>
/// <param name="Pid">The process id there.</param>
/// <param name="Incarnation">Random for each life of a process: tells two lives of one apart.</param>
/// <param name="Endpoint">Where a server listens, as <c>http://host:port</c>; empty for workers.</param>
public sealed record Member(MemberId Id, MemberRole Role, string Host, int Pid, ulong Incarnation, string Endpoint)
{
    /// <summary>What members that can share memory have in common; empty for one that can't.</summary>
    public string HostIdentity { get; init; } = "";

    /// <summary>"worker 3 (pid 412 on lab-2)".</summary>
    public override string ToString() => $"{(Role == MemberRole.Worker ? "worker" : "server")} {Id} (pid {Pid} on {Host})";
}

/// <summary>A member that went, and why.</summary>
/// <param name="Member">Who.</param>
/// <param name="Cause">Why, in words.</param>
public sealed record Departure(Member Member, string Cause);

/// <summary>Who is in the cluster at one version. Immutable; versions strictly increase.</summary>
/// <param name="Version">The version of the view.</param>
/// <param name="Members">Who is in, in the order of their numbers.</param>
/// <param name="Departures">All who went, in order.</param>
public sealed record ClusterView(long Version, ImmutableArray<Member> Members, ImmutableArray<Departure> Departures)
{
    /// <summary>The view before anyone came.</summary>
    public static ClusterView Empty { get; } = new(0, [], []);

    /// <summary>The view with one member more; the same view when the number is there already.</summary>
    public ClusterView With(Member member) =>
        Members.Any(m => m.Id == member.Id) ? this : this with { Version = Version + 1, Members = Members.Add(member).Sort((a, b) => a.Id.Value.CompareTo(b.Id.Value)) };

    /// <summary>The view with one member less; the same view when it isn't there.</summary>
    public ClusterView Without(MemberId id, string cause) =>
        Members.FirstOrDefault(m => m.Id == id) is { } member
            ? this with { Version = Version + 1, Members = Members.Remove(member), Departures = Departures.Add(new(member, cause)) }
            : this;
}
