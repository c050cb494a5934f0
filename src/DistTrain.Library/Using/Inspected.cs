using System.Text.Json.Serialization;

namespace DistTrain;

/// <summary>A layer of a model.</summary>
/// <param name="Name">Its name, which its tensors' names begin with.</param>
/// <param name="Kind">Its kind.</param>
/// <param name="Input">The shape of one example's input.</param>
/// <param name="Output">The shape of one example's output.</param>
/// <param name="Parameters">Numbers that it trains.</param>
/// <param name="Flops">Floating-point operations of one example's forward pass; a multiply-add counts as two.</param>
public sealed record InspectedLayer(
    [property: JsonPropertyName("name")] string Name,
    [property: JsonPropertyName("kind")] string Kind,
    [property: JsonPropertyName("input")] IReadOnlyList<int> Input,
    [property: JsonPropertyName("output")] IReadOnlyList<int> Output,
    [property: JsonPropertyName("parameters")] long Parameters,
    [property: JsonPropertyName("flops")] long Flops);

/// <summary>What a job comes to, before it is trained; what <c>inspect JOB --json</c> writes.</summary>
public sealed record InspectedJob
{
    /// <summary>The job's name.</summary>
    [JsonPropertyName("name")] public required string Name { get; init; }

    /// <summary>SHA-256 over what decides the bits.</summary>
    [JsonPropertyName("job_hash")] public required string JobHash { get; init; }

    /// <summary>SHA-256 over the data's content.</summary>
    [JsonPropertyName("data_hash")] public required string DataHash { get; init; }

    /// <summary>The data in words.</summary>
    [JsonPropertyName("data")] public required string Data { get; init; }

    /// <summary>Training examples.</summary>
    [JsonPropertyName("train_examples")] public required long TrainExamples { get; init; }

    /// <summary>Test examples.</summary>
    [JsonPropertyName("test_examples")] public required long TestExamples { get; init; }

    /// <summary>The layers, from the input to the output.</summary>
    [JsonPropertyName("layers")] public required IReadOnlyList<InspectedLayer> Layers { get; init; }

    /// <summary>Numbers that are trained.</summary>
    [JsonPropertyName("parameters")] public required long Parameters { get; init; }

    /// <summary>Floating-point operations of one example's forward pass.</summary>
    [JsonPropertyName("flops")] public required long Flops { get; init; }

    /// <summary>Mini-batches an epoch.</summary>
    [JsonPropertyName("steps_per_epoch")] public required long StepsPerEpoch { get; init; }

    /// <summary>Steps of the whole training.</summary>
    [JsonPropertyName("total_steps")] public required long TotalSteps { get; init; }

    /// <summary>Bytes of weights and optimizer state over all parameter servers.</summary>
    [JsonPropertyName("server_bytes")] public required long ServerBytes { get; init; }

    /// <summary>How a worker's values and gradients fit into <c>training.memory</c>, in words.</summary>
    [JsonPropertyName("memory")] public required string Memory { get; init; }

    /// <summary>Bytes of a worker's planned buffers: activations and their gradients for a whole mini-batch, since it may be
    /// left alone with it, and two model versions of weights, and their averages where there are some. Gradients that wait for their commit and the data come on top.</summary>
    [JsonPropertyName("worker_bytes")] public required long WorkerBytes { get; init; }

    /// <summary>The whole job with every default written out.</summary>
    [JsonPropertyName("job")] public required string Job { get; init; }

    /// <summary>0: a failure has no result.</summary>
    [JsonPropertyName("exit_code")] public int ExitCode { get; init; }

    /// <summary>Null: a failure has no result.</summary>
    [JsonPropertyName("error")] public string? Error { get; init; }
}

/// <summary>A tensor of a checkpoint.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Shape">Its dimensions.</param>
public sealed record InspectedTensor(
    [property: JsonPropertyName("name")] string Name,
    [property: JsonPropertyName("shape")] IReadOnlyList<int> Shape);

/// <summary>A file of a checkpoint.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="Sha256">The hash that it was found to have, which is the one that the manifest says.</param>
public sealed record InspectedFile(
    [property: JsonPropertyName("name")] string Name,
    [property: JsonPropertyName("bytes")] long Bytes,
    [property: JsonPropertyName("sha256")] string Sha256);

/// <summary>What a checkpoint holds, verified; what <c>inspect CHECKPOINT --json</c> writes.</summary>
public sealed record InspectedCheckpoint
{
    /// <summary>Its directory.</summary>
    [JsonPropertyName("checkpoint")] public required string Checkpoint { get; init; }

    /// <summary>The job's name.</summary>
    [JsonPropertyName("name")] public required string Name { get; init; }

    /// <summary>When it was begun.</summary>
    [JsonPropertyName("created")] public required DateTimeOffset Created { get; init; }

    /// <summary>The model version: optimizer steps that the weights have had.</summary>
    [JsonPropertyName("steps")] public required long Steps { get; init; }

    /// <summary>Passes over the data completed.</summary>
    [JsonPropertyName("epoch")] public required long Epoch { get; init; }

    /// <summary>Examples of the current epoch that have been used.</summary>
    [JsonPropertyName("epoch_position")] public required long EpochPosition { get; init; }

    /// <summary>The job's seed.</summary>
    [JsonPropertyName("seed")] public required ulong Seed { get; init; }

    /// <summary>The optimizer.</summary>
    [JsonPropertyName("optimizer")] public required string Optimizer { get; init; }

    /// <summary>Its state vectors.</summary>
    [JsonPropertyName("state_vectors")] public required IReadOnlyList<string> StateVectors { get; init; }

    /// <summary>Figures at this version.</summary>
    [JsonPropertyName("metrics")] public required IReadOnlyDictionary<string, double> Metrics { get; init; }

    /// <summary>SHA-256 over what decides the bits.</summary>
    [JsonPropertyName("job_hash")] public required string JobHash { get; init; }

    /// <summary>SHA-256 over the data's content.</summary>
    [JsonPropertyName("data_hash")] public required string DataHash { get; init; }

    /// <summary>Numerics revision that it was trained under.</summary>
    [JsonPropertyName("numerics_revision")] public required int NumericsRevision { get; init; }

    /// <summary>Numbers in all tensors.</summary>
    [JsonPropertyName("parameters")] public required long Parameters { get; init; }

    /// <summary>The tensors, in layout order.</summary>
    [JsonPropertyName("tensors")] public required IReadOnlyList<InspectedTensor> Tensors { get; init; }

    /// <summary>The files, each verified.</summary>
    [JsonPropertyName("files")] public required IReadOnlyList<InspectedFile> Files { get; init; }

    /// <summary>The job that it is of.</summary>
    [JsonPropertyName("job")] public required string Job { get; init; }

    /// <summary>0: a failure has no result.</summary>
    [JsonPropertyName("exit_code")] public int ExitCode { get; init; }

    /// <summary>Null: a failure has no result.</summary>
    [JsonPropertyName("error")] public string? Error { get; init; }
}
