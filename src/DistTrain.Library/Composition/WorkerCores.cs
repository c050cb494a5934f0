using DistTrain.Core;
using DistTrain.Jobs;
using DistTrain.Kernels;

namespace DistTrain.Composition;

/// <summary>Which cores the threads of workers are pinned to, so that no two of them fight for one.</summary>
public static class WorkerCores
{
    /// <summary>One worker's cores, a core for each thread.</summary>
    /// <param name="text">A list as in <c>0-3,6</c>, or <c>auto</c> for those that this process may use; null pins nothing.</param>
    /// <param name="threads">The worker's threads.</param>
    /// <param name="key">What the list is called in errors.</param>
    /// <exception cref="DistTrainException">No list, too few cores, or some that this process may not use.</exception>
    public static CoreSet? Of(string? text, int threads, string key) => text is null ? null : Share(text, 1, threads, key)[0];

    /// <summary>The cores of each worker of a run on this machine; null pins nothing.</summary>
    /// <exception cref="DistTrainException">No list, fewer cores than threads, or some that this process may not use.</exception>
    public static IReadOnlyList<CoreSet>? Share(ClusterOptions cluster)
    {
        ArgumentNullException.ThrowIfNull(cluster);
        return cluster.Cores is null ? null : Share(cluster.Cores, cluster.MostWorkers ?? cluster.Workers, cluster.Threads, "cluster.cores");
    }

    private static IReadOnlyList<CoreSet> Share(string text, int workers, int threads, string key)
    {
        if (!CoreSet.Supported) throw Wrong(key, text, "threads can be pinned on Linux only");
        CoreSet usable = CoreSet.OfCurrentThread();
        CoreSet cores = text == "auto" ? usable : Parse(text, key);
        for (int i = 0; i < cores.Count; i++)
        {
            if (!usable.Contains(cores[i])) throw Wrong(key, text, $"this process may use {usable}, not {cores[i]}");
        }

        if (cores.Count < (long)workers * threads)
        {
            throw Wrong(key, text, $"{Counted(workers, "worker")} of {Counted(threads, "thread")} need {(long)workers * threads} cores; there are {cores.Count}");
        }

        return [.. Enumerable.Range(0, workers).Select(w => new CoreSet([.. Enumerable.Range(w * threads, threads).Select(i => cores[i])]))];
    }

    private static CoreSet Parse(string text, string key)
    {
        try
        {
            return CoreSet.Parse(text);
        }
        catch (FormatException e)
        {
            throw Wrong(key, text, e.Message);
        }
    }

    private static string Counted(int count, string what) => count == 1 ? $"1 {what}" : $"{count} {what}s";

    private static DistTrainException Wrong(string key, string text, string why) => new(ExitCode.BadUsage, $"{key} {text}: {why}");
}
