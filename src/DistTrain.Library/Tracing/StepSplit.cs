using System.Text.Json.Serialization;
using DistTrain.Core.Tracing;

namespace DistTrain;

/// <summary>
/// Where the time of a step goes, from a trace: means over workers and over the steps that it holds, but the first ones and those around
/// evaluations. The parts add up to the whole.
/// </summary>
public sealed record StepSplit
{
    /// <summary>Steps that it was taken from.</summary>
    [JsonPropertyName("steps")] public int Steps { get; init; }

    /// <summary>A step, in milliseconds, from its beginning to that of the next.</summary>
    [JsonPropertyName("step_ms")] public double StepMs { get; init; }

    /// <summary>Examples, forward, loss and backward.</summary>
    [JsonPropertyName("compute_ms")] public double ComputeMs { get; init; }

    /// <summary>
    /// Exposed communication: packing and pushing buckets, and waiting for weights while nobody computed that step any more and no server
    /// was reducing or applying it.
    /// </summary>
    [JsonPropertyName("communication_ms")] public double CommunicationMs { get; init; }

    /// <summary>Waiting while a server reduced or applied.</summary>
    [JsonPropertyName("reduction_ms")] public double ReductionMs { get; init; }

    /// <summary>Waiting for another worker's part of the step, or for the coordinator's clock.</summary>
    [JsonPropertyName("stall_ms")] public double StallMs { get; init; }

    /// <summary>What none of these is: messages between two computations, above all.</summary>
    [JsonPropertyName("other_ms")] public double OtherMs { get; init; }

    /// <summary>Managed bytes that each member's process allocated a step; within one process all members show the same.</summary>
    [JsonPropertyName("managed_bytes_per_step")] public IReadOnlyDictionary<string, double> ManagedBytesPerStep { get; init; } = new Dictionary<string, double>();

    /// <summary>The split of a trace; null where it holds too few steps.</summary>
    internal static StepSplit? Of(IReadOnlyList<TraceTrack> tracks) => tracks.Count == 0 ? null : new Composition.SplitReader(tracks).Read();
}
