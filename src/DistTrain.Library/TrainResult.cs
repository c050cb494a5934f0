using System.Text.Json.Serialization;

namespace DistTrain;

/// <summary>A member that was lost during a job.</summary>
/// <param name="Who">Such as <c>worker 3</c>.</param>
/// <param name="Host">Its machine.</param>
/// <param name="Pid">Its process id there.</param>
/// <param name="Step">The step that was under way.</param>
/// <param name="Cause">Why, in words.</param>
/// <param name="RecoveredMs">Milliseconds until the next step was committed; null when none was.</param>
public sealed record Failure(
    [property: JsonPropertyName("who")] string Who,
    [property: JsonPropertyName("host")] string Host,
    [property: JsonPropertyName("pid")] int Pid,
    [property: JsonPropertyName("step")] long Step,
    [property: JsonPropertyName("cause")] string Cause,
    [property: JsonPropertyName("recovered_ms")] double? RecoveredMs);

/// <summary>What <c>train --json</c> writes. Field names are a promise; numbers without meaning are null.</summary>
public sealed record TrainResult
{
    /// <summary>The job's name.</summary>
    [JsonPropertyName("name")] public string Name { get; init; } = "";

    /// <summary>Model version reached: optimizer steps committed.</summary>
    [JsonPropertyName("steps")] public long Steps { get; init; }

    /// <summary>Epochs reached, in part.</summary>
    [JsonPropertyName("epochs")] public double Epochs { get; init; }

    /// <summary>Training examples in the data set.</summary>
    [JsonPropertyName("train_examples")] public long TrainExamples { get; init; }

    /// <summary>Examples that were computed by this run.</summary>
    [JsonPropertyName("examples")] public long Examples { get; init; }

    /// <summary>Mean training loss over the last epoch or what was run of it.</summary>
    [JsonPropertyName("train_loss")] public double? TrainLoss { get; init; }

    /// <summary>
    /// With early stopping, the best evaluated version: the weights, the checkpoint and the figures on the test set are its. Null
    /// where they are the last version's.
    /// </summary>
    [JsonPropertyName("best_step")] public long? BestStep { get; init; }

    /// <summary>Mean loss on the test set at the end; null when the run ended before it was measured.</summary>
    [JsonPropertyName("test_loss")] public double? TestLoss { get; init; }

    /// <summary>Share of test examples classified right; null where it has no meaning.</summary>
    [JsonPropertyName("test_accuracy")] public double? TestAccuracy { get; init; }

    /// <summary>SHA-256 over the little-endian fp32 parameters in layout order, without padding.</summary>
    [JsonPropertyName("weights_sha256")] public string? WeightsSha256 { get; init; }

    /// <summary>The norm of the whole model's mean gradient at the last step that was looked at; null when none was.</summary>
    [JsonPropertyName("gradient_norm")] public double? GradientNorm { get; init; }

    /// <summary>The norm of each tensor's mean gradient at that step; null when none was looked at.</summary>
    [JsonPropertyName("gradient_norms")] public IReadOnlyDictionary<string, double?>? GradientNorms { get; init; }

    /// <summary>The gradient noise scale, in examples, as last estimated; null when it could not be told.</summary>
    [JsonPropertyName("gradient_noise_scale")] public double? GradientNoiseScale { get; init; }

    /// <summary>
    /// The most steps that the weights lacked which a segment was computed with; null where steps wait for each other
    /// (<c>cluster.consistency: sync</c>).
    /// </summary>
    [JsonPropertyName("staleness_max")] public long? StalenessMax { get; init; }

    /// <summary>The mean of those steps, over all segments that servers applied.</summary>
    [JsonPropertyName("staleness_mean")] public double? StalenessMean { get; init; }

    /// <summary>
    /// Shards of steps that were ordered a second time because their workers lagged, over all steps. Which of the two computations came
    /// first is not told: the bits are the same.
    /// </summary>
    [JsonPropertyName("assisted_shards")] public long AssistedShards { get; init; }

    /// <summary>Shards that a second worker computed too, to the same bits; null where none are compared.</summary>
    [JsonPropertyName("verified_shards")] public long? VerifiedShards { get; init; }

    /// <summary>Shards that came to other bits on a second worker; null where none are compared.</summary>
    [JsonPropertyName("unequal_shards")] public long? UnequalShards { get; init; }

    /// <summary>Examples a second in steady state: evaluations, checkpoints and the first steps left out.</summary>
    [JsonPropertyName("samples_per_second")] public double? SamplesPerSecond { get; init; }

    /// <summary>Median time between two commits, in milliseconds; their mean where steps don't wait for each other, because commits then come together.</summary>
    [JsonPropertyName("step_ms_median")] public double? StepMsMedian { get; init; }

    /// <summary>
    /// Bytes of gradients that servers took from workers, a step, over all workers, counted where they arrive; between processes that
    /// share memory they are read where they lie. Null when no step was committed.
    /// </summary>
    [JsonPropertyName("pushed_bytes_per_step")] public double? PushedBytesPerStep { get; init; }

    /// <summary>Bytes of weights, and of averages that are evaluated, that servers gave to workers, a step, likewise.</summary>
    [JsonPropertyName("broadcast_bytes_per_step")] public double? BroadcastBytesPerStep { get; init; }

    /// <summary>Elements of a bucket, as set or chosen from a measurement; null where the run ended before.</summary>
    [JsonPropertyName("bucket_length")] public int? BucketLength { get; init; }

    /// <summary>Where the time of a step goes; null without a trace.</summary>
    [JsonPropertyName("step_split")] public StepSplit? Split { get; init; }

    /// <summary>Seconds from the start of the run to its end.</summary>
    [JsonPropertyName("wall_seconds")] public double WallSeconds { get; init; }

    /// <summary>Workers at the end.</summary>
    [JsonPropertyName("workers")] public int Workers { get; init; }

    /// <summary>Parameter servers.</summary>
    [JsonPropertyName("servers")] public int Servers { get; init; }

    /// <summary>Shards a mini-batch is cut into.</summary>
    [JsonPropertyName("shards")] public int Shards { get; init; }

    /// <summary>How tensors moved.</summary>
    [JsonPropertyName("channel")] public string Channel { get; init; } = "";

    /// <summary>Members that were lost.</summary>
    [JsonPropertyName("failures")] public IReadOnlyList<Failure> Failures { get; init; } = [];

    /// <summary>The last checkpoint's directory; null when nothing was saved.</summary>
    [JsonPropertyName("checkpoint")] public string? Checkpoint { get; init; }

    /// <summary>Numerics revision of the kernels.</summary>
    [JsonPropertyName("numerics_revision")] public int NumericsRevision { get; init; }

    /// <summary>The exit code that the run ended with.</summary>
    [JsonPropertyName("exit_code")] public int ExitCode { get; init; }

    /// <summary>The error that ended the run; null when it ended well.</summary>
    [JsonPropertyName("error")] public string? Error { get; init; }
}
