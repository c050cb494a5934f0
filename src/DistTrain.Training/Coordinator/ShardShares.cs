using System.Globalization;
using DistTrain.Core.Sharding;

namespace DistTrain.Training.Coordinator;

/// <summary>What it costs that shards can't be shared out evenly.</summary>
public static class ShardShares
{
    /// <summary>
    /// In words, what the number of workers costs with so many shards, and what cures it; null when nothing does. A step takes
    /// as long as the largest share does.
    /// </summary>
    /// <param name="shards">Shards of a mini-batch.</param>
    /// <param name="workers">Workers, at least one.</param>
    public static string? Doubt(int shards, int workers)
    {
        int most = Enumerable.Range(0, workers).Max(w => ShardSlice.ForWorker(shards, workers, w).Length);
        if ((long)most * workers == shards) return null;
        // Even shares with the fewest shards that are no fewer than now.
        int cure = (shards + workers - 1) / workers * workers;
        string remedy = $"batch.shards: {cure} shares them out evenly (it changes the bits)";
        if (shards < workers) return $"{shards} shards for {workers} workers leave {workers - shards} of them idle; {remedy}";
        double cost = ((double)most * workers / shards) - 1;
        return string.Create(
            CultureInfo.InvariantCulture, $"{shards} shards can't be shared out evenly over {workers} workers: some have {most}, so a step takes about {cost:P0} longer than it need; {remedy}");
    }
}
