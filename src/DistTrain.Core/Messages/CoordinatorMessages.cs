using System.Collections.Immutable;
using DistTrain.Core.Channels;
using DistTrain.Core.Sharding;

namespace DistTrain.Core.Messages;

/// <summary>Versions of the conversation between members.</summary>
public static class Protocol
{
    /// <summary>Raised whenever a message changes its meaning.</summary>
    public const int Version = 10;
}

/// <summary>A message from the coordinator to a member.</summary>
public abstract record CoordinatorMessage;

/// <summary>The job, as text, for a member that asked to join.</summary>
/// <param name="Job">The job file with all overrides applied.</param>
/// <param name="JobHash">Over what decides the bits.</param>
/// <param name="DataHash">Over the data set's content.</param>
/// <param name="Data">What a member without the data must know of it.</param>
public sealed record JobOffer(string Job, string JobHash, string DataHash, DataFacts Data) : CoordinatorMessage
{
    /// <summary>How many of its last events the member keeps for a trace; 0 for none.</summary>
    public int TraceEvents { get; init; }
}

/// <summary>What the model and the step clock take from the data.</summary>
/// <param name="InputShape">One example's features.</param>
/// <param name="Classes">Classes; 0 for real targets.</param>
/// <param name="TargetWidth">Real targets of an example, or its class labels: 1, or one for each position of a sequence.</param>
/// <param name="TrainExamples">Examples to train on.</param>
/// <param name="TestExamples">Examples to evaluate on; 0 for none.</param>
public sealed record DataFacts(ImmutableArray<int> InputShape, int Classes, int TargetWidth, long TrainExamples, long TestExamples);

/// <summary>The member is in.</summary>
/// <param name="Member">Its number.</param>
/// <param name="Term">The coordinator's term.</param>
/// <param name="FailureTimeout">After this silence a member counts as lost.</param>
public sealed record Welcome(MemberId Member, long Term, TimeSpan FailureTimeout) : CoordinatorMessage;

/// <summary>The member is not in; the link closes after this.</summary>
/// <param name="Reason">Why, with both values.</param>
/// <param name="Exit">The exit code that fits.</param>
public sealed record Refused(string Reason, ExitCode Exit) : CoordinatorMessage;

/// <summary>A server shall accept this term, unless it has accepted a higher one.</summary>
public sealed record AcceptTerm(long Term) : CoordinatorMessage;

/// <summary>Gives a server its partition.</summary>
/// <param name="Term">The coordinator's term.</param>
/// <param name="Partition">Which.</param>
/// <param name="Partitions">Of how many.</param>
/// <param name="BucketLength">The bucket size; with the job's layout it decides all ranges.</param>
/// <param name="Version">Where to start: 0 means the seed's initial weights, more a checkpoint fetched from the coordinator.</param>
public sealed record OwnPartition(long Term, int Partition, int Partitions, int BucketLength, long Version) : CoordinatorMessage
{
    /// <summary>The partitions' shares of the flat vector, by which <see cref="Layout.BucketPlan"/> cuts it; empty for equal ones.</summary>
    public ImmutableArray<int> Shares { get; init; } = [];

    /// <summary>
    /// The server goes on with what it holds, where <see cref="Version"/> is what every partition has reached: buckets that are one step ahead stay so.
    /// </summary>
    public bool Keep { get; init; }

    /// <summary>The server is a second copy: it applies what the first one reduced, and publishes nothing.</summary>
    public bool IsReplica { get; init; }

    /// <summary>Where the second copy is, to which the server sends what it reduced; null for none.</summary>
    public ServerAddress? Replica { get; init; }

    /// <summary>
    /// Some partition has a second copy: a step is committed only once all copies have applied it, which nobody but the coordinator can tell.
    /// </summary>
    public bool Replicated { get; init; }

    /// <summary>
    /// Above 0: the second copy is made while training goes on, of what the first one holds at this version, which sends it that and everything
    /// from then on. It counts once <see cref="CopyCounts"/> says so.
    /// </summary>
    public long CopyAt { get; init; }
}

/// <summary>
/// The second copy of the server's partition, or the one that the server is, has reached what is committed: from now on commits wait for it.
/// </summary>
/// <param name="Term">The term of the partition.</param>
public sealed record CopyCounts(long Term) : CoordinatorMessage;

/// <summary>Asks a member what it does and waits for.</summary>
/// <param name="Round">Comes back with the answer.</param>
public sealed record Explain(long Round) : CoordinatorMessage;

/// <summary>Tells a worker where the servers are.</summary>
public sealed record Topology(long Term, int BucketLength, ImmutableArray<ServerAddress> Servers) : CoordinatorMessage
{
    /// <summary>As in <see cref="OwnPartition"/>.</summary>
    public ImmutableArray<int> Shares { get; init; } = [];

    /// <summary>As in <see cref="OwnPartition"/>.</summary>
    public bool Replicated { get; init; }
}

/// <summary>
/// The shards that a worker computes in every step until the next assignment, ascending. In the step that it is in, it
/// computes those of them that it hasn't pushed.
/// </summary>
public sealed record Assignment(long Term, ImmutableArray<int> Shards) : CoordinatorMessage;

/// <summary>
/// The step clock. Steps below <paramref name="GrantedUntil"/> may be computed and applied; servers copy the partition
/// at each version of <paramref name="Checkpoints"/> before they change it.
/// </summary>
/// <param name="Term">The coordinator's term.</param>
/// <param name="CommittedVersion">Every partition has reached this version.</param>
/// <param name="GrantedUntil">The first step that is not granted yet.</param>
/// <param name="Checkpoints">Versions at or above the committed one to be saved, ascending.</param>
/// <param name="Record">The coordinator's own state, stored by servers with the commit.</param>
public sealed record Clock(long Term, long CommittedVersion, long GrantedUntil, ImmutableArray<long> Checkpoints, ReadOnlyMemory<byte> Record) : CoordinatorMessage
{
    /// <summary>
    /// What the rates of the steps that are not applied yet are multiplied by. It changes only where every partition stands at
    /// the committed version and nothing beyond is granted, so all apply a step with the same.
    /// </summary>
    public double RateFactor { get; init; } = 1;
}

/// <summary>
/// A worker shall evaluate these shards of the test set at this version, which is committed: its weights, or their averages
/// where the job has some.
/// </summary>
public sealed record Evaluate(long Term, long Version, ImmutableArray<int> Shards) : CoordinatorMessage
{
    /// <summary>Whether a version is evaluated where there are test examples: coordinator and servers have to agree.</summary>
    public static bool IsDue(long version, long stepsPerEpoch, long totalSteps) =>
        version > 0 && (version == totalSteps || version % stepsPerEpoch == 0);
}

/// <summary>What the <see cref="NormsMeasured"/> of all partitions come to.</summary>
/// <param name="Term">The coordinator's term.</param>
/// <param name="Step">The step.</param>
/// <param name="Squares">
/// The sum of squares of each tensor's gradient sum, in layout order; 0 for buffers. Where more vectors were measured, theirs
/// stand behind, one vector after the other.
/// </param>
public sealed record NormsDecided(long Term, long Step, ImmutableArray<double> Squares) : CoordinatorMessage;

/// <summary>Steps are over: a member answers with what it recorded of them, as <see cref="Traced"/>.</summary>
public sealed record TraceWanted : CoordinatorMessage;

/// <summary>
/// The member was taken for lost, and its place is taken: nothing that it sends counts any more. It may join again, as a new one.
/// The link closes after this.
/// </summary>
/// <param name="Cause">Why it was given up.</param>
public sealed record Evicted(string Cause) : CoordinatorMessage;

/// <summary>The job is over for this member.</summary>
/// <param name="Reason">Why, in words.</param>
/// <param name="Exit">What the member's process ends with.</param>
public sealed record Stop(string Reason, ExitCode Exit) : CoordinatorMessage;
