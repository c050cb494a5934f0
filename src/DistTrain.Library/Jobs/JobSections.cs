using DistTrain.Kernels;
using DistTrain.Optim;
using DistTrain.Training;

namespace DistTrain.Jobs;

/// <summary>The <c>batch</c> section: what one optimizer step sees, over the whole cluster.</summary>
public sealed record BatchOptions
{
    /// <summary>Examples of one mini-batch.</summary>
    public int Size { get; init; } = 128;

    /// <summary>Shards that it is cut into: the unit of work, so at most this many workers have some. It decides the bits.</summary>
    public int Shards { get; init; } = 8;

    /// <summary>
    /// The most examples that a worker computes at once, the gradients of all its shards then adding up; at least those of
    /// one shard. It saves memory and does not show in the bits. Null for all at once.
    /// </summary>
    public int? MicroSize { get; init; }
}

/// <summary>The <c>training</c> section: how long.</summary>
public sealed record TrainingOptions
{
    /// <summary>Passes over the training examples.</summary>
    public int Epochs { get; init; } = 10;

    /// <summary>Ends the training after this many steps, if that is sooner; null for no such limit.</summary>
    public long? MaxSteps { get; init; }

    /// <summary>The largest norm that the mean gradient of the whole model may have: a longer one is shortened; null for any.</summary>
    public double? ClipNorm { get; init; }

    /// <summary>What an element of the mean gradient is cut to, both ways; null for no cut.</summary>
    public double? ClipValue { get; init; }

    /// <summary>The factor of an L1 penalty on decaying weights: so much is added to the mean gradient along their signs.</summary>
    public double L1 { get; init; }

    /// <summary>
    /// What values and gradients between layers are rounded to and kept in for backward, and how segments and weights
    /// travel. Sums, the optimizer and the servers' weights are fp32 all the same; fp16 scales the loss. It decides the bits.
    /// </summary>
    public FloatFormat Precision { get; init; } = FloatFormat.Float32;

    /// <summary>
    /// How much of the weights' moving average stays at each step, from 0 to below 1: evaluations, the best version and the
    /// result are of the average then. Null for none. It is as good as over the last 1 / (1 - ema) steps.
    /// </summary>
    public double? Ema { get; init; }

    /// <summary>
    /// Every so many steps the gradient is looked at: its norms, dead units, the noise scale; 0 for never. It never shows in
    /// the bits.
    /// </summary>
    public long WatchEvery { get; init; } = 100;

    /// <summary>
    /// The most bytes that the values and gradients of a worker's step may take; where they would take more, parts of the
    /// network are computed twice. Null for any. It never shows in the bits.
    /// </summary>
    public long? Memory { get; init; }

    /// <summary>
    /// Ends the training when evaluations get no better, with the best version as its result; null for never. It decides how
    /// long the training is, not the weights after a step.
    /// </summary>
    public EarlyStopping? EarlyStopping { get; init; }

    /// <summary>The steps of the whole training.</summary>
    /// <param name="stepsPerEpoch">Mini-batches in one pass over the training examples.</param>
    public long TotalSteps(long stepsPerEpoch)
    {
        long all = checked(Epochs * stepsPerEpoch);
        return MaxSteps is { } most ? Math.Min(most, all) : all;
    }
}

/// <summary>How tensors move between processes.</summary>
public enum ChannelChoice
{
    /// <summary>Shared memory between a worker and a server of one host, gRPC between hosts.</summary>
    Auto,

    /// <summary>gRPC everywhere.</summary>
    Grpc,
}

/// <summary>The <c>cluster</c> section: who computes. Nothing here shows in the bits, unless steps don't wait for each other.</summary>
public sealed record ClusterOptions
{
    /// <summary>Workers to start, or to wait for.</summary>
    public int Workers { get; init; } = 4;

    /// <summary>
    /// Where the number of workers may change, the most of them; the job begins with <see cref="Workers"/> and waits whenever there are fewer.
    /// Null for a job that begins with <see cref="Workers"/> and goes on with whoever is left or comes.
    /// </summary>
    public int? MostWorkers { get; init; }

    /// <summary>How long to wait for members, when too few are left to go on.</summary>
    public TimeSpan WaitTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>After so long without a step the coordinator tells who waits for whom; null for never.</summary>
    public TimeSpan? Watchdog { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How often <c>train</c> starts a process again that died.</summary>
    public int Restarts { get; init; } = 10;

    /// <summary>Parameter servers to start, or to wait for.</summary>
    public int Servers { get; init; } = 1;

    /// <summary>
    /// Second copies of each partition, 0 or 1, each on a server of its own: the job goes on at once when a server dies. There are
    /// <see cref="Servers"/> partitions then, and twice as many servers.
    /// </summary>
    public int Replicas { get; init; }

    /// <summary>The fraction of shards that a second worker computes too, to compare the bits; 0 for none.</summary>
    public double Verify { get; init; }

    /// <summary>Whether each worker's process has a parameter server in it; <see cref="Servers"/> is as many as there are workers then.</summary>
    public bool Colocated { get; init; }

    /// <summary>Computing threads of each worker that <c>train</c> starts.</summary>
    public int Threads { get; init; } = 1;

    /// <summary>
    /// The cores that the workers which <c>train</c> starts pin their threads to, each worker the next so many, as in
    /// <c>0-3,6</c>; <c>auto</c> for those that this process may use. Null lets the system move threads.
    /// </summary>
    public string? Cores { get; init; }

    /// <summary>A member that is silent for so long is taken for lost.</summary>
    public TimeSpan FailureTimeout { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>
    /// Whether all workers compute a step with the same weights. Where they don't, the weights depend on timing; clips by norm,
    /// fp16, LARS and LAMB don't go with that, and <see cref="TrainingOptions.WatchEvery"/> is as if it were 0.
    /// </summary>
    public Consistency Consistency { get; init; } = Consistency.Sync;

    /// <summary>How tensors move between processes.</summary>
    public ChannelChoice Channel { get; init; } = ChannelChoice.Auto;

    /// <summary>Connections from each worker to each server on another host: more than one where a link is faster than a single connection.</summary>
    public int Connections { get; init; } = 1;

    /// <summary>The most elements of a bucket; null chooses by the model's size.</summary>
    public int? BucketLength { get; init; }
}

/// <summary>The <c>checkpoint</c> section.</summary>
public sealed record CheckpointOptions
{
    /// <summary>The run's directory; null is <c>runs/</c> and the job's name, below the working directory.</summary>
    public string? Path { get; init; }

    /// <summary>How often. One more is always written at the end.</summary>
    public CheckpointInterval Every { get; init; } = CheckpointInterval.Epochs(1);

    /// <summary>The newest so many are kept.</summary>
    public int Keep { get; init; } = 3;
}
