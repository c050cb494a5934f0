using System.Runtime.InteropServices;
using DistTrain.Core.Sharding;

namespace DistTrain.Core.Tracing;

/// <summary>Something that a member did, or a count at a moment.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 8)]
public readonly record struct TraceEvent
{
    /// <summary>What.</summary>
    public TraceName Name { get; init; }

    /// <summary>Whether it happened on a channel's thread, not on the one that computes.</summary>
    public bool OnChannel { get; init; }

    /// <summary>The bucket; -1 for none.</summary>
    public int Bucket { get; init; }

    /// <summary>The first shard of a segment.</summary>
    public int Lo { get; init; }

    /// <summary>One past its last shard; 0 for no segment.</summary>
    public int Hi { get; init; }

    /// <summary>The step, or for weights the version; of a count, the count.</summary>
    public long Value { get; init; }

    /// <summary>When it began: nanoseconds of the recording machine's monotonic clock.</summary>
    public long Start { get; init; }

    /// <summary>Nanoseconds; 0 for a moment.</summary>
    public long Duration { get; init; }

    /// <summary>When it ended.</summary>
    public long End => Start + Duration;

    /// <summary>Whether it is a count.</summary>
    public bool IsCount => Name >= TraceName.SegmentsWaiting;

    /// <summary>The shards of a segment.</summary>
    public ShardRange Shards => new(Lo, Hi);
}
