using System.Text.Json.Serialization;

namespace DistTrain;

/// <summary>What <c>eval --json</c> writes. Field names are a promise; numbers without meaning are null.</summary>
public sealed record EvaluationResult
{
    /// <summary>The job's name.</summary>
    [JsonPropertyName("name")] public required string Name { get; init; }

    /// <summary>The checkpoint's directory.</summary>
    [JsonPropertyName("checkpoint")] public required string Checkpoint { get; init; }

    /// <summary>The model version: optimizer steps that the weights have had.</summary>
    [JsonPropertyName("steps")] public required long Steps { get; init; }

    /// <summary>The data in words.</summary>
    [JsonPropertyName("data")] public required string Data { get; init; }

    /// <summary>Test examples.</summary>
    [JsonPropertyName("examples")] public required long Examples { get; init; }

    /// <summary>Mean loss over them.</summary>
    [JsonPropertyName("test_loss")] public required double TestLoss { get; init; }

    /// <summary>Share of them classified right; null where it has no meaning.</summary>
    [JsonPropertyName("test_accuracy")] public required double? TestAccuracy { get; init; }

    /// <summary>SHA-256 over the little-endian fp32 parameters in layout order, without padding.</summary>
    [JsonPropertyName("weights_sha256")] public required string WeightsSha256 { get; init; }

    /// <summary>Seconds that it took, reading included.</summary>
    [JsonPropertyName("wall_seconds")] public double WallSeconds { get; init; }

    /// <summary>Numerics revision of this build's kernels.</summary>
    [JsonPropertyName("numerics_revision")] public required int NumericsRevision { get; init; }

    /// <summary>0: a failure has no result.</summary>
    [JsonPropertyName("exit_code")] public int ExitCode { get; init; }

    /// <summary>Null: a failure has no result.</summary>
    [JsonPropertyName("error")] public string? Error { get; init; }
}
