using System.Collections.Immutable;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Training.Coordinator;

/// <summary>
/// Which shards are computed a second time, and by whom: so many of all shards as the fraction says, chosen at random. In a step that is chosen each worker
/// computes some of one other's, so that none waits for another that has more to do.
/// </summary>
internal static class VerifyChoice
{
    // Keyed apart from what decides bits.
    private const uint Purpose = 0x76657269;

    /// <summary>How many of another's shards each worker computes in a chosen step.</summary>
    public static int PerWorker(double fraction, int shards, int workers) => fraction >= 1 ? shards : Math.Max(1, (int)Math.Ceiling(fraction * shards / workers));

    /// <summary>Whether a step is chosen.</summary>
    public static bool IsChosen(ulong seed, long step, double fraction, int shards, int workers)
    {
        if (fraction <= 0 || workers < 2) return false;
        double rate = fraction * shards / ((double)workers * PerWorker(fraction, shards, workers));
        return fraction >= 1 || new KeyedRandom(seed, Purpose).Uniform((ulong)step, 0) < rate;
    }

    /// <summary>In a chosen step, for each worker the shards of others that it computes again, ascending.</summary>
    /// <param name="seed">The job's seed.</param>
    /// <param name="step">The step.</param>
    /// <param name="count">How many each computes, at most all of one other.</param>
    /// <param name="shares">Each worker's own; two workers at least.</param>
    public static ImmutableArray<ImmutableArray<int>> Again(ulong seed, long step, int count, IReadOnlyList<ShardRange> shares)
    {
        var random = new KeyedRandom(seed, Purpose);
        int distance = 1 + (int)(random.Bits((ulong)step, 1) % (uint)(shares.Count - 1));
        var again = ImmutableArray.CreateBuilder<ImmutableArray<int>>(shares.Count);
        for (int worker = 0; worker < shares.Count; worker++)
        {
            ShardRange other = shares[(worker + distance) % shares.Count];
            int first = other.Length == 0 ? 0 : (int)(random.Bits((ulong)step, 2 + (ulong)worker) % (uint)other.Length);
            again.Add([.. Enumerable.Range(0, Math.Min(count, other.Length)).Select(i => other.Lo + ((first + i) % other.Length)).Order()]);
        }

        return again.MoveToImmutable();
    }
}
