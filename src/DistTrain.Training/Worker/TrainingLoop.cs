using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;
using DistTrain.Data;
using DistTrain.Kernels;
using DistTrain.Nn;

namespace DistTrain.Training.Worker;

/// <summary>What a worker knows of the job.</summary>
/// <param name="Model">The network.</param>
/// <param name="Train">The training examples.</param>
/// <param name="Test">The test examples; null for none.</param>
/// <param name="Seed">The job's seed.</param>
/// <param name="BatchSize">Examples a mini-batch, over the whole cluster.</param>
/// <param name="Shards">Shards a mini-batch.</param>
/// <param name="Threads">Threads that compute.</param>
public sealed record WorkerSetup(Model Model, IDataset Train, IDataset? Test, ulong Seed, int BatchSize, int Shards, int Threads)
{
    /// <summary>The core of each thread; null lets the system move them.</summary>
    public CoreSet? Cores { get; init; }

    /// <summary>The most bytes of a step's values and gradients; null for any.</summary>
    public long? Memory { get; init; }

    /// <summary>What training images go through each time they are used.</summary>
    public ImmutableArray<AugmentSpec> Augment { get; init; } = [];

    /// <summary>The most rows at once, but whole shards; null for as many as a worker has to compute.</summary>
    public int? MicroSize { get; init; }

    /// <summary>Every so many steps the two halves of the shard tree are sent apart, so that their norms can be told; 0 for never.</summary>
    public long WatchEvery { get; init; }

    /// <summary>How segments and weights travel.</summary>
    public WireOptions Wire { get; init; } = WireOptions.Exact;

    /// <summary>Whether segments lie where other processes of this host may read them, and weights are read where servers have them.</summary>
    public bool SharesMemory { get; init; }

    /// <summary>Whether steps wait for each other.</summary>
    public Consistency Consistency { get; init; } = Consistency.Sync;

    /// <summary>Whether evaluations are of the weights' averages.</summary>
    public bool Averages { get; init; }

    /// <summary>Whether a version's checkpoint may be ordered only after its evaluation; null for none.</summary>
    public Func<long, bool>? IsJudged { get; init; }

    /// <summary>Where shards train by themselves between two steps; null where each step is a mini-batch.</summary>
    public LocalRule? Local { get; init; }

    /// <summary>Where what the worker does is recorded; null for nowhere.</summary>
    public TraceRecorder? Trace { get; init; }

    /// <summary>What it does wrong on purpose; null for nothing.</summary>
    public Faults? Faults { get; init; }

    /// <summary>Whether the two halves of a step are sent apart.</summary>
    /// <remarks>What is held back is held for each node that is sent, so those stay the same nodes.</remarks>
    public bool Watches(long step) => !Wire.Gradients.HoldsBack && Core.Messages.Watched.IsDue(step, WatchEvery);

    /// <summary>The most rows that a pass may have: a worker may be given all shards of a mini-batch.</summary>
    public int MostRows
    {
        get
        {
            int rows = (int)Math.Max(Math.Min(BatchSize, Train.Count), Memory is null ? Math.Min(EvaluationRows, Test?.Count ?? 0) : 1);
            return (Local is null ? MicroSize : 1) is { } most ? Math.Min(rows, Math.Max(most, (BatchSize + Shards - 1) / Shards)) : rows;
        }
    }

    // Rows of one evaluation pass: enough to fill the kernels, few enough to plan for.
    internal const int EvaluationRows = 256;
}

/// <summary>
/// The training step as a worker sees it: gather the rows of its shards, forward, loss, backward; each finished
/// layer's gradient drops into its bucket while backward goes on. Also evaluates.
/// </summary>
internal sealed unsafe class TrainingLoop : IDisposable
{
    // Values of a mini-batch from which on gathering ahead is worth waking another thread; augmenting always is.
    private const long WorthPrefetching = 1 << 16;

    private readonly WorkerSetup _setup;
    private readonly ShardTree _tree;
    private readonly BatchSource _source;
    private readonly Prefetch? _prefetch;
    private readonly KernelPool _pool;
    private readonly long[] _examples;
    private readonly ulong[] _digests;
    private readonly ModelRun _run;
    private readonly LocalTraining? _local;
    private int _node;

    public TrainingLoop(WorkerSetup setup, ShardTree tree)
    {
        (_setup, _tree) = (setup, tree);
        _source = new BatchSource(setup, tree);
        if (!setup.Augment.IsDefaultOrEmpty || (long)_source.MaxRows * setup.Train.FeatureCount >= WorthPrefetching) _prefetch = new Prefetch(new BatchSource(setup, tree), setup.Train, tree.Shards);
        _pool = setup.Threads > 1 ? new KernelPool(setup.Threads, setup.Cores) : KernelPool.Single;
        (_examples, _digests) = (new long[setup.MostRows], new ulong[tree.Shards]);
        _run = new ModelRun(setup.Model, setup.MostRows, _pool, setup.Shards, setup.Memory);
        if (setup.Local is { } rule) _local = new LocalTraining(setup, rule, tree, _source, _run);
    }

    /// <summary>The most rows of one pass.</summary>
    public int MaxRows => _run.MaxRows;

    /// <summary>Examples of the mini-batch of a step: the last one of an epoch may be short.</summary>
    public int BatchSize(long step) => _local is null ? _source.BatchSize(step) : _setup.BatchSize;

    /// <summary>One step for the shards of <paramref name="rows"/>, into the buffers of <paramref name="round"/>.</summary>
    public void Step(float* weights, ShardRows rows, GradientRound round, GradientBuckets buckets)
    {
        Begin(rows, round);
        TryStep(weights, rows, round, buckets, gate: null);
    }

    /// <summary>Begins a step for the shards of <paramref name="rows"/>: takes their examples.</summary>
    public void Begin(ShardRows rows, GradientRound round)
    {
        long began = _setup.Trace.Begin();
        if (_local is null) Gather(round.Step, rows);
        _setup.Trace.End(TraceName.Gather, began, round.Step);
        _node = 0;
    }

    /// <summary>
    /// Goes on with the step that was begun: forward as far as the weights are there, and once all are, to its end. False
    /// while some are missing.
    /// </summary>
    public bool TryStep(float* weights, ShardRows rows, GradientRound round, GradientBuckets buckets, IWeightsGate? gate)
    {
        if (_local is not null) return TryRound(weights, rows, round, buckets, gate);
        TraceRecorder? trace = _setup.Trace;
        long began = trace.Begin();
        bool whole = _run.TryForward(weights, rows.Rows, new StepKey(_setup.Seed, round.Step, Training: true), rows.Plan, gate, ref _node);
        trace.End(TraceName.Forward, began, round.Step);
        if (!whole) return false;
        began = trace.Begin();
        _run.Loss(rows.Rows, rows.Plan, round.Stats);
        trace.End(TraceName.Loss, began, round.Step);
        CountExamples(rows, round);
        round.JoinStats();
        foreach (SegmentStats stats in round.Stats)
        {
            if (!double.IsFinite(stats.LossSum)) throw Diverged(weights, rows, round.Step, stats.LossSum);
        }

        buckets.Begin(round);
        began = trace.Begin();
        _run.Backward(weights, rows.Rows, rows.Plan, buckets);
        trace.End(TraceName.Backward, began, round.Step);
        round.Complete = true;
        return true;
    }

    private void CountExamples(ShardRows rows, GradientRound round)
    {
        for (int node = 0; node < rows.Nodes.Count; node++)
        {
            ulong sum = 0;
            for (int leaf = rows.Plan.NodeLeaves[node]; leaf < rows.Plan.NodeLeaves[node + 1]; leaf++) sum += _digests[leaf];
            round.Stats[node] = round.Stats[node] with { ExampleDigest = sum };
        }
    }

    // A round begins with all of the weights.
    private bool TryRound(float* weights, ShardRows rows, GradientRound round, GradientBuckets buckets, IWeightsGate? gate)
    {
        long length = _setup.Model.Layout.Length;
        if (gate?.Has(0, length) == false) return false;
        long began = _setup.Trace.Begin();
        try
        {
            _local!.Run(weights, rows.Shards.Single(), round);
        }
        catch (NotFiniteException e)
        {
            throw Diverged($"in mini-batch {e.MiniBatch}, within step {round.Step},", e.Loss, e.Where);
        }

        _setup.Trace.End(TraceName.LocalSteps, began, round.Step, shards: new ShardRange(rows.Shards[0], rows.Shards[0] + 1));
        round.JoinStats();
        buckets.Begin(round);
        buckets.Ready(0, length);
        round.Complete = true;
        return true;
    }

    /// <summary>The sums of one shard of the test set; the examples count in ascending order.</summary>
    public SegmentStats Evaluate(float* weights, int shard)
    {
        IDataset test = _setup.Test!;
        (long start, long end) = ShardSlice.Of(test.Count, _tree.Shards, shard);
        SegmentStats sum = default;
        while (start < end)
        {
            int rows = (int)Math.Min(Math.Min(WorkerSetup.EvaluationRows, _examples.Length), end - start);
            for (int i = 0; i < rows; i++) _examples[i] = start + i;
            test.Gather(_examples.AsSpan(0, rows), _run.Input, _run.Labels, _run.Targets);
            _run.Forward(weights, rows, new StepKey(_setup.Seed, 0, Training: false));
            _run.AccumulateEvaluation(rows, ref sum);
            start += rows;
        }

        return sum;
    }

    public void Dispose()
    {
        _prefetch?.Dispose();
        _local?.Dispose();
        _run.Dispose();
        if (_setup.Threads > 1) _pool.Dispose();
    }

    private DistTrainException Diverged(float* weights, ShardRows rows, long step, double lossSum) =>
        Diverged($"at step {step}", lossSum, _run.FirstNotFinite(weights, rows.Rows, rows.Plan));

    private static DistTrainException Diverged(string when, double lossSum, string? where) =>
        new(ExitCode.Diverged, $"training diverged: the loss {when} is {lossSum}; {where ?? "all layers' outputs are finite"}; try a lower learning rate or training.clip_norm");

    private void Gather(long step, ShardRows rows)
    {
        if (_prefetch?.TryTake(step, rows, _run.Input, _run.Labels, _run.Targets, _digests) != true) _source.Gather(step, rows, _run.Input, _run.Labels, _run.Targets, _digests);
        // These rows are of a mini-batch of this size; there is room for one group of rows ahead.
        if (rows.IsWhole && _source.BatchSize(step + 1) == _source.BatchSize(step)) _prefetch?.Begin(step + 1, rows);
    }
}
