using System.Collections.Immutable;
using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;

namespace DistTrain.Core.Messages;

/// <summary>A message from a member to the coordinator.</summary>
public abstract record MemberMessage;

/// <summary>The first message of a member: who it is and which protocol it speaks.</summary>
/// <param name="Role">The part that it wants.</param>
/// <param name="Host">Its machine.</param>
/// <param name="Pid">Its process id.</param>
/// <param name="Incarnation">Random for this life.</param>
/// <param name="ProtocolVersion"><see cref="Protocol.Version"/> of its build.</param>
/// <param name="NumericsRevision">The numerics revision of its kernels.</param>
/// <param name="Endpoint">Where it listens, for servers.</param>
public sealed record JoinRequest(
    MemberRole Role, string Host, int Pid, ulong Incarnation, int ProtocolVersion, int NumericsRevision, string Endpoint) : MemberMessage
{
    /// <summary>What members that can share memory have in common; empty for one that can't.</summary>
    public string HostIdentity { get; init; } = "";
}

/// <summary>The member has read the job and, a worker, its data: the second half of the handshake.</summary>
/// <param name="JobHash">The hash it computed of the offered job.</param>
/// <param name="DataHash">The hash it computed of its own data; empty for servers, which read none.</param>
public sealed record JoinReady(string JobHash, string DataHash) : MemberMessage
{
    /// <summary>What its link to the coordinator's machine does; not known where there is none in between.</summary>
    public LinkSpeed Link { get; init; }

    /// <summary>The highest term that it has heard of; 0 for none. It follows only a higher one.</summary>
    public long HighestTerm { get; init; }
}

/// <summary>What a member does and waits for.</summary>
/// <param name="Round">As in <see cref="Explain"/>.</param>
/// <param name="Doing">In words, for people.</param>
public sealed record Explained(long Round, string Doing) : MemberMessage
{
    /// <summary>The step of which a server lacks <see cref="Shards"/>.</summary>
    public long Step { get; init; } = -1;

    /// <summary>Shards that a server waits for, in one bucket at least.</summary>
    public ImmutableArray<int> Shards { get; init; } = [];

    /// <summary>Buckets that lack some of them.</summary>
    public ImmutableArray<int> Buckets { get; init; } = [];
}

/// <summary>Alive.</summary>
public sealed record Heartbeat : MemberMessage;

/// <summary>A server takes orders of this term only, from now on.</summary>
/// <param name="Term">The accepted term.</param>
/// <param name="HighestTerm">The highest term it had accepted before.</param>
/// <param name="Record">The coordinator's record stored with its last commit; empty before the first.</param>
public sealed record TermAccepted(long Term, long HighestTerm, ReadOnlyMemory<byte> Record) : MemberMessage
{
    /// <summary>What the server has from the term before; null for nothing that could be gone on with.</summary>
    public HeldPartition? Held { get; init; }
}

/// <summary>A partition as a server holds it between two terms. Each of its buckets stands at <paramref name="Version"/> or one further.</summary>
/// <param name="Term">The term that it was owned under.</param>
/// <param name="Partition">Which.</param>
/// <param name="Partitions">Of how many.</param>
/// <param name="BucketLength">As in <see cref="OwnPartition"/>.</param>
/// <param name="IsReplica">Whether it was the second copy.</param>
/// <param name="Version">What all its buckets have reached.</param>
public sealed record HeldPartition(long Term, int Partition, int Partitions, int BucketLength, bool IsReplica, long Version)
{
    /// <summary>Whether some of its buckets are one step further.</summary>
    public bool IsAhead { get; init; }

    /// <summary>As in <see cref="OwnPartition"/>.</summary>
    public ImmutableArray<int> Shares { get; init; } = [];

    /// <summary>The last steps that it applied whole, ascending: at least those since the last commit that it heard of.</summary>
    public ImmutableArray<AppliedStep> Applied { get; init; } = [];

    /// <summary>The last decision over the whole model that it applied; null for none.</summary>
    public NormsDecided? Norms { get; init; }
}

/// <summary>A step that a server applied, and its sums over all shards.</summary>
public readonly record struct AppliedStep(long Step, SegmentStats Stats);

/// <summary>A server has accepted a higher term than the coordinator's: somebody else leads, or led later.</summary>
public sealed record TermRefused(long Term, long HighestTerm) : MemberMessage;

/// <summary>A server's partition stands at this version and can be subscribed to.</summary>
public sealed record PartitionReady(long Term, int Partition, long Version) : MemberMessage;

/// <summary>A server applied all its buckets of a step.</summary>
/// <param name="Term">The server's term.</param>
/// <param name="Partition">Its partition.</param>
/// <param name="Step">The step; its partition now stands at version Step + 1.</param>
/// <param name="Stats">Joined over all shards.</param>
public sealed record StepApplied(long Term, int Partition, long Step, SegmentStats Stats) : MemberMessage
{
    /// <summary>What the server has taken and sent under this term.</summary>
    public Traffic Traffic { get; init; }

    /// <summary>Where steps don't wait for each other: segments that were applied since the last report.</summary>
    public long Segments { get; init; }

    /// <summary>The sum, over those, of the steps that the weights lacked which they were computed with.</summary>
    public long StalenessSum { get; init; }

    /// <summary>The most that those of one lacked.</summary>
    public long StalenessMax { get; init; }
}

/// <summary>
/// Where steps don't wait for each other: a server got the first segment of a step, and is near the end of what is granted to it.
/// </summary>
public sealed record StepReached(long Term, int Partition, long Step) : MemberMessage;

/// <summary>Payloads of tensors that went between workers and servers, whatever the channel.</summary>
/// <param name="Pushed">Bytes of gradients that came from workers, repeated ones included.</param>
/// <param name="Broadcast">Bytes of weights and their averages that went to workers.</param>
public readonly record struct Traffic(long Pushed, long Broadcast)
{
    /// <summary>Adds up.</summary>
    public static Traffic operator +(Traffic a, Traffic b) => new(a.Pushed + b.Pushed, a.Broadcast + b.Broadcast);
}

/// <summary>
/// A server reduced all its buckets of a step whose update needs norms over the whole model; it waits for
/// <see cref="NormsDecided"/>.
/// </summary>
/// <param name="Term">The server's term.</param>
/// <param name="Partition">Its partition.</param>
/// <param name="Step">The step.</param>
/// <param name="Squares">
/// The sum of squares of the gradient sums of each of its blocks, ascending; 0 for buffers and what is frozen. Where the
/// optimizer needs the norms of tensors, those of what it measures, and behind them those of the weights' blocks.
/// </param>
public sealed record NormsMeasured(long Term, int Partition, long Step, ImmutableArray<float> Squares) : MemberMessage;

/// <summary>What a server saw of a gradient at a step that is watched. All lists have an entry for each of its blocks, ascending.</summary>
/// <param name="Term">The server's term.</param>
/// <param name="Partition">Its partition.</param>
/// <param name="Step">The step.</param>
/// <param name="Squares">The sum of squares of the gradient sums; 0 for buffers.</param>
/// <param name="Zeros">How many of them are zero.</param>
/// <param name="Left">As <paramref name="Squares"/>, of the shard tree's left half alone; empty when it came whole.</param>
/// <param name="Right">As <paramref name="Left"/>, of the right half.</param>
/// <param name="LeftWeight">The total weight of the left half's rows.</param>
/// <param name="RightWeight">That of the right half's.</param>
public sealed record Watched(
    long Term,
    int Partition,
    long Step,
    ImmutableArray<float> Squares,
    ImmutableArray<int> Zeros,
    ImmutableArray<float> Left,
    ImmutableArray<float> Right,
    double LeftWeight,
    double RightWeight) : MemberMessage
{
    /// <summary>Whether a step is watched when every so many are: workers and servers have to agree. 0 is for never.</summary>
    public static bool IsDue(long step, long every) => every > 0 && (step + 1) % every == 0;
}

/// <summary>A server joined all segments of an evaluation.</summary>
public sealed record EvaluationReduced(long Term, long Version, SegmentStats Stats) : MemberMessage;

/// <summary>A part of what a member recorded; the first is empty, so that it tells of clocks.</summary>
/// <param name="AskedAt">When the member was asked, in nanoseconds of its own monotonic clock.</param>
/// <param name="SentAt">When it sent this.</param>
/// <param name="Events">Events, in the order in which they were recorded; times as above.</param>
/// <param name="Lost">Earlier events that it had no room for.</param>
/// <param name="Last">Nothing more will come.</param>
public sealed record Traced(long AskedAt, long SentAt, ImmutableArray<TraceEvent> Events, long Lost, bool Last) : MemberMessage;

/// <summary>A worker tries in vain to connect to a server; it goes on trying.</summary>
/// <param name="Term">The term.</param>
/// <param name="Partition">The server's partition.</param>
/// <param name="Cause">Why, in words.</param>
public sealed record ServerUnreachable(long Term, int Partition, string Cause) : MemberMessage;

/// <summary>A worker is connected to a server again after <see cref="ServerUnreachable"/>.</summary>
public sealed record ServerReached(long Term, int Partition) : MemberMessage;

/// <summary>The member leaves in good order.</summary>
public sealed record Leaving(string Reason) : MemberMessage;

/// <summary>The last word of a member that ends because of an error.</summary>
/// <param name="Cause">Why, in words.</param>
/// <param name="Exit">The exit code that the whole job should end with when the cause lies in the job or its data.</param>
public sealed record Failed(string Cause, ExitCode Exit) : MemberMessage;
