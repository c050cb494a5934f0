using System.Text.Json;

namespace DistTrain.Bench.Distributed;

/// <summary>What a cluster moves at a step, and how fast its links could.</summary>
/// <param name="PushedBytes">Bytes of gradients, of all workers.</param>
/// <param name="BroadcastBytes">Bytes of weights, likewise.</param>
/// <param name="LinkBytesPerSecond">What a worker's link carries; 0 where nothing crosses one.</param>
internal sealed record StepTraffic(double PushedBytes, double BroadcastBytes, double LinkBytesPerSecond)
{
    /// <summary>
    /// Milliseconds that a worker's link needs at least: it carries both directions at once, and where each worker has a server in its
    /// process the part that stays there doesn't cross it.
    /// </summary>
    public double LinkMs(int workers, bool colocated)
    {
        if (LinkBytesPerSecond == 0) return 0;
        double share = colocated ? (double)(workers - 1) / workers : 1;
        return 1000 * share * Math.Max(PushedBytes, BroadcastBytes) / workers / LinkBytesPerSecond;
    }
}

/// <summary>Where the time of a cluster's step goes, as results: each part as a share of the step, and the step against the ideal.</summary>
internal static class StepParts
{
    private const string Unit = "ms_per_step";

    /// <summary>The split that a traced run wrote to its <c>--json</c> file; null where it has none.</summary>
    public static StepSplit? Read(JsonElement result) =>
        result.TryGetProperty("step_split", out JsonElement split) && split.ValueKind == JsonValueKind.Object ? split.Deserialize<StepSplit>() : null;

    /// <summary>The results of a split.</summary>
    /// <param name="name">What was measured.</param>
    /// <param name="split">The cluster's.</param>
    /// <param name="idealMs">Compute alone, perfectly divided, or the link's limit where that is more.</param>
    public static IEnumerable<BenchResult> Of(string name, StepSplit split, double idealMs)
    {
        yield return new BenchResult(name, split.StepMs, Unit, "ideal", idealMs, idealMs / split.StepMs, null, null);
        yield return Part("compute", split.ComputeMs);
        yield return Part("exposed_communication", split.CommunicationMs);
        yield return Part("reduction", split.ReductionMs);
        yield return Part("stall", split.StallMs);
        yield return Part("between", split.OtherMs);
        if (split.ManagedBytesPerStep.Count > 0) yield return new BenchResult($"{name}_managed", split.ManagedBytesPerStep.Values.Max(), "bytes_per_step", null, null, null, null, null);

        BenchResult Part(string part, double ms) => new($"{name}_{part}", ms, Unit, "step", split.StepMs, ms / split.StepMs, null, null);
    }

    /// <summary>The ideal step: what one process computes, divided by the workers, or the link's limit.</summary>
    public static double IdealMs(StepSplit alone, int workers, double linkMs) => Math.Max(alone.ComputeMs / workers, linkMs);
}
