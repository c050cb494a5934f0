using DistTrain.Core;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Tracing;

namespace DistTrain.Training.Coordinator;

/// <summary>What a coordinator knows of the job.</summary>
public sealed record TrainingPlan
{
    /// <summary>The job as text, for members.</summary>
    public required string JobText { get; init; }

    /// <summary>SHA-256 over what decides the bits.</summary>
    public required string JobHash { get; init; }

    /// <summary>SHA-256 over the data's content.</summary>
    public required string DataHash { get; init; }

    /// <summary>What members without the data must know of it.</summary>
    public required DataFacts Data { get; init; }

    /// <summary>The kernels' numerics revision.</summary>
    public required int NumericsRevision { get; init; }

    /// <summary>Shards a mini-batch.</summary>
    public required int Shards { get; init; }

    /// <summary>Mini-batches an epoch.</summary>
    public required long StepsPerEpoch { get; init; }

    /// <summary>The model version to reach.</summary>
    public required long TotalSteps { get; init; }

    /// <summary>True when there is a test set, evaluated after each epoch and at the end.</summary>
    public required bool Evaluates { get; init; }

    /// <summary>What is made of evaluations; null for nothing.</summary>
    public EvaluationRules? Monitoring { get; init; }

    /// <summary>What followed from the evaluations before the job resumed.</summary>
    public EvaluationRecord Evaluations { get; init; } = EvaluationRecord.Empty;

    /// <summary>Whether steps wait for each other.</summary>
    public Consistency Consistency { get; init; } = Consistency.Sync;

    /// <summary>Steps between checkpoints; 0 for one at the end only.</summary>
    public required long CheckpointEvery { get; init; }

    /// <summary>
    /// Whether workers have to know before a step that its version is saved, because they hold gradients back: an early end comes a step
    /// later then, behind what was granted without a word.
    /// </summary>
    public bool ForetellsSaving { get; init; }

    /// <summary>
    /// Whether lagging workers' shards are computed by others too: where steps wait for each other, and a segment is the same whoever computes it.
    /// </summary>
    public bool Assists { get; init; }

    /// <summary>The fraction of shards that are computed a second time, by another worker; 0 for none. Where steps wait for each other, and a segment is the same whoever computes it.</summary>
    public double Verify { get; init; }

    /// <summary>The job's seed.</summary>
    public ulong Seed { get; init; }

    /// <summary>Workers to begin with.</summary>
    public required int Workers { get; init; }

    /// <summary>With fewer workers than that, steps wait for more to come.</summary>
    public int FewestWorkers { get; init; } = 1;

    /// <summary>The most workers that get shards; others stand by.</summary>
    public int MostWorkers { get; init; } = int.MaxValue;

    /// <summary>Parameter servers.</summary>
    public required int Servers { get; init; }

    /// <summary>Second copies of each partition: 0 or 1.</summary>
    public int Replicas { get; init; }

    /// <summary>Whether it follows a coordinator that ended, and goes on from what servers hold.</summary>
    public bool Recovers { get; init; }

    /// <summary>Partitions at most: the blocks of the layout.</summary>
    public required int MostPartitions { get; init; }

    /// <summary>The flat vector's tensors, over which norms are joined; null where the update needs none.</summary>
    public ParameterLayout? NormedLayout { get; init; }

    /// <summary>How many vectors of that layout are measured: gradients, and for some optimizers the weights too.</summary>
    public int NormedVectors { get; init; } = 1;

    /// <summary>Whether the loss is scaled, and a step whose gradient overflows skipped.</summary>
    public bool ScalesLoss { get; init; }

    /// <summary>The tensors whose gradients are looked at now and then; null where none are.</summary>
    public WatchedModel? Watched { get; init; }

    /// <summary>Bucket size in elements; null for one that fits what was measured.</summary>
    public required int? BucketLength { get; init; }

    /// <summary>What the way through this machine's memory was measured to do.</summary>
    public LinkSpeed Local { get; init; }

    /// <summary>The model's tensors; null where the bucket size is set.</summary>
    public ParameterLayout? Layout { get; init; }

    /// <summary>The version to begin with; more than 0 when the job resumes.</summary>
    public required long FirstVersion { get; init; }

    /// <summary>Time from one checkpoint to the next, where steps don't count them; null where they do.</summary>
    public TimeSpan? CheckpointPeriod { get; init; }

    /// <summary>Where what the coordinator does is recorded; with it members record too, and are asked for it at the end. Null for no trace.</summary>
    public TraceRecorder? Trace { get; init; }

    /// <summary>Silence after which a member counts as lost.</summary>
    public required TimeSpan FailureTimeout { get; init; }

    /// <summary>How long to wait for members before the first step.</summary>
    public required TimeSpan JoinTimeout { get; init; }

    /// <summary>After so long without progress it is told who waits for whom; null for never.</summary>
    public TimeSpan? Watchdog { get; init; }

    /// <summary>How long to wait for members later, when too few are left to go on.</summary>
    public TimeSpan RejoinTimeout { get; init; } = TimeSpan.FromSeconds(60);
}
