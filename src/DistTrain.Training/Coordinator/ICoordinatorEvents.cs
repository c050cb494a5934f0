using DistTrain.Core;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;
using DistTrain.Optim;

namespace DistTrain.Training.Coordinator;

/// <summary>How a job ended.</summary>
/// <param name="Exit">The exit code.</param>
/// <param name="Reason">Why, in words; null when all went well.</param>
/// <param name="Version">The last committed version.</param>
/// <param name="Workers">Workers at the end.</param>
/// <param name="Partitions">Parameter servers that owned a partition.</param>
public sealed record Outcome(ExitCode Exit, string? Reason, long Version, int Workers, int Partitions)
{
    /// <summary>The best evaluated version, which is the result; null where the last one is.</summary>
    public BestModel? Best { get; init; }

    /// <summary>Elements of a bucket; 0 where the job ended before that was known.</summary>
    public int BucketLength { get; init; }

    /// <summary>How stale the weights were that segments were computed with; null where steps wait for each other.</summary>
    public Staleness? Staleness { get; init; }

    /// <summary>Shards of committed steps that were ordered a second time, because their workers lagged.</summary>
    public long AssistedShards { get; init; }

    /// <summary>Shards that were computed a second time, to the same bits; null where none are.</summary>
    public long? VerifiedShards { get; init; }

    /// <summary>Shards that came to other bits on a second worker; null where none are compared.</summary>
    public long? UnequalShards { get; init; }

    /// <summary>What went between workers and servers in all, as the servers counted it when they applied their last step.</summary>
    public Traffic Traffic { get; init; }
}

/// <summary>What happens in a job, told by the coordinator one event at a time.</summary>
public interface ICoordinatorEvents
{
    /// <summary>Members are missing.</summary>
    void Waiting(string message);

    /// <summary>Steps begin.</summary>
    void Started(int workers, int servers);

    /// <summary>A step is committed; <paramref name="version"/> is reached.</summary>
    void Committed(long version, SegmentStats stats);

    /// <summary>A version was evaluated.</summary>
    void Evaluated(long version, SegmentStats stats);

    /// <summary>The gradient of a step was looked at.</summary>
    void Watched(WatchReport report);

    /// <summary>A checkpoint is complete on disk.</summary>
    void Saved(long version, string path);

    /// <summary>A member joined.</summary>
    void Joined(Member member);

    /// <summary>A member was lost while version <paramref name="version"/> was the last committed one.</summary>
    void Lost(Member member, string cause, long version);

    /// <summary>Steps beyond <paramref name="version"/> are undone: the job goes on from there.</summary>
    void WentBack(long version);

    /// <summary>What the figures stand at, for a successor of this process.</summary>
    ReadOnlyMemory<byte> Figures { get; }

    /// <summary>This process goes on where another one stood at <paramref name="version"/>, with its <see cref="Figures"/>.</summary>
    void Resumed(long version, ReadOnlyMemory<byte> figures);

    /// <summary>A decision that the user may like to hear of.</summary>
    void Noted(string message);

    /// <summary>Something the user should know.</summary>
    void Warn(string message);

    /// <summary>What members recorded, the coordinator's own first; those that were lost, or didn't answer, are left out. Comes before the end of a job that is traced.</summary>
    void Traced(IReadOnlyList<TraceTrack> tracks);

    /// <summary>The job is over: the last event.</summary>
    void Finished(Outcome outcome);
}
