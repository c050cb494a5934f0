using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Messages;

namespace DistTrain.Training;

/// <summary>
/// What a coordinator may order. An order that can't be meant ends the member with words: to go on without it would leave the job waiting.
/// </summary>
internal static class Orders
{
    // No job gets as far; numbers near the largest would run over when something is added.
    private const long MostSteps = 1L << 56;

    /// <summary>Shards are ascending, and the job's.</summary>
    /// <exception cref="DistTrainException">ClusterLost: they are not.</exception>
    public static void RequireShards(ImmutableArray<int> shards, int all)
    {
        int last = -1;
        foreach (int shard in shards)
        {
            if (shard <= last || shard >= all) throw Bad($"shard {shard} behind {last}, of {all}");
            last = shard;
        }
    }

    /// <summary>Steps and versions are numbers that can be counted on from.</summary>
    /// <exception cref="DistTrainException">ClusterLost: they are not.</exception>
    public static void RequireSteps(Clock clock)
    {
        RequireStep(clock.CommittedVersion);
        RequireStep(clock.GrantedUntil);
        foreach (long version in clock.Checkpoints) RequireStep(version);
    }

    /// <inheritdoc cref="RequireSteps"/>
    public static void RequireStep(long step)
    {
        if (step is < 0 or > MostSteps) throw Bad($"step {step}");
    }

    /// <summary>An order that can't be meant.</summary>
    public static DistTrainException Bad(string what) => new(ExitCode.ClusterLost, $"the coordinator orders what can't be: {what}");
}
