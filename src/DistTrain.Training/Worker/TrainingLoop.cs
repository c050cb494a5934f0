using System.Collections.Immutable;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
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
/// <param name="Cores">The core of each thread; null lets the system move them.</param>
/// <param name="Augment">What training images go through each time they are used.</param>
public sealed record WorkerSetup(
    Model Model, IDataset Train, IDataset? Test, ulong Seed, int BatchSize, int Shards, int Threads, CoreSet? Cores = null,
    ImmutableArray<AugmentSpec> Augment = default);

/// <summary>
/// The training step as a worker sees it: gather the rows of its shards, forward, loss, backward; each finished
/// layer's gradient drops into its bucket while backward goes on. Also evaluates.
/// </summary>
internal sealed unsafe class TrainingLoop : IDisposable
{
    // Rows of one evaluation pass: enough to fill the kernels, few enough to plan for.
    private const int EvaluationRows = 256;

    // Values of a mini-batch from which on gathering ahead is worth waking another thread; augmenting always is.
    private const long WorthPrefetching = 1 << 16;

    private readonly WorkerSetup _setup;
    private readonly ShardTree _tree;
    private readonly BatchSource _source;
    private readonly Prefetch? _prefetch;
    private readonly KernelPool _pool;
    private readonly long[] _examples;
    private readonly ModelRun _run;

    public TrainingLoop(WorkerSetup setup, ShardTree tree)
    {
        (_setup, _tree) = (setup, tree);
        _source = new BatchSource(setup, tree);
        if (!setup.Augment.IsDefaultOrEmpty || (long)_source.MaxRows * setup.Train.FeatureCount >= WorthPrefetching) _prefetch = new Prefetch(new BatchSource(setup, tree), setup.Train);
        _pool = setup.Threads > 1 ? new KernelPool(setup.Threads, setup.Cores) : KernelPool.Single;
        int rows = (int)Math.Max(_source.MaxRows, Math.Min(EvaluationRows, setup.Test?.Count ?? 0));
        _examples = new long[rows];
        _run = new ModelRun(setup.Model, rows, _pool, setup.Shards);
    }

    /// <summary>Examples of the mini-batch of a step: the last one of an epoch may be short.</summary>
    public int BatchSize(long step) => _source.BatchSize(step);

    /// <summary>One step for the shards of <paramref name="rows"/>, into the buffers of <paramref name="round"/>.</summary>
    public void Step(float* weights, ShardRows rows, GradientRound round, GradientBuckets buckets)
    {
        Gather(round.Step, rows);
        _run.Forward(weights, rows.Rows, new StepKey(_setup.Seed, round.Step, Training: true), rows.Plan);
        _run.Loss(rows.Rows, rows.Plan, round.Stats);
        buckets.Begin(round);
        _run.Backward(weights, rows.Rows, rows.Plan, buckets);
    }

    /// <summary>The sums of one shard of the test set; the examples count in ascending order.</summary>
    public SegmentStats Evaluate(float* weights, int shard)
    {
        IDataset test = _setup.Test!;
        (long start, long end) = ShardSlice.Of(test.Count, _tree.Shards, shard);
        SegmentStats sum = default;
        while (start < end)
        {
            int rows = (int)Math.Min(Math.Min(EvaluationRows, _examples.Length), end - start);
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
        _run.Dispose();
        if (_setup.Threads > 1) _pool.Dispose();
    }

    private void Gather(long step, ShardRows rows)
    {
        if (_prefetch?.TryTake(step, rows, _run.Input, _run.Labels, _run.Targets) != true) _source.Gather(step, rows, _run.Input, _run.Labels, _run.Targets);
        // These rows are of a mini-batch of this size.
        if (_source.BatchSize(step + 1) == _source.BatchSize(step)) _prefetch?.Begin(step + 1, rows);
    }
}
