using DistTrain.Core;
using DistTrain.Core.Layout;

namespace DistTrain.Training.Coordinator;

/// <summary>
/// The bucket size, from a measurement. Of a partition of B bytes in n buckets each costs a message on its way (the latency, once), and
/// the last one is alone on it: nothing is left to do beside it. So a step's way takes B/r + n·latency + B/(n·r), which is least at
/// n = √(B / (r·latency)).
/// </summary>
public static class BucketChoice
{
    /// <summary>Buckets of a partition, at most.</summary>
    public const int Most = 64;

    /// <summary>The largest bucket, in elements, unless so many don't do for a partition.</summary>
    public const int Longest = 1 << 20;

    /// <summary>The bucket size in elements, a multiple of the block length; where nothing was measured, <see cref="BucketPlan.ChooseBucketLength"/>.</summary>
    /// <param name="layout">The flat vector.</param>
    /// <param name="partitions">Partitions that it is cut into.</param>
    /// <param name="speed">The slowest way between a worker and a server.</param>
    public static int Length(ParameterLayout layout, int partitions, LinkSpeed speed)
    {
        if (!speed.IsKnown) return BucketPlan.ChooseBucketLength(layout);
        double elements = Math.Max(1, (double)layout.Length / partitions);
        double count = Math.Clamp(Math.Sqrt(elements * sizeof(float) / speed.BytesPerSecond / speed.Latency), 1, Most);
        double blocks = Math.Ceiling(elements / count / ParameterLayout.BlockLength);
        return (int)Math.Clamp(blocks * ParameterLayout.BlockLength, ParameterLayout.BlockLength, Longest);
    }
}
