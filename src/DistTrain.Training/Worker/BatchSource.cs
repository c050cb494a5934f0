using DistTrain.Core.Sharding;
using DistTrain.Data;

namespace DistTrain.Training.Worker;

/// <summary>
/// The rows of a worker's shards of a step: found out from the step's number, gathered, augmented and mixed. One thread at a
/// time; allocates nothing once made.
/// </summary>
internal sealed unsafe class BatchSource
{
    private readonly WorkerSetup _setup;
    private readonly ShardTree _tree;
    private readonly Sampler _sampler;
    private readonly Augmenter? _augmenter;
    private readonly MixedRows? _mixed;
    private readonly long[] _examples;

    public BatchSource(WorkerSetup setup, ShardTree tree)
    {
        (_setup, _tree) = (setup, tree);
        _sampler = new Sampler(setup.Train.Count, setup.BatchSize, setup.Seed);
        _augmenter = setup.Augment.IsDefaultOrEmpty ? null : new Augmenter(setup.Augment, setup.Train.InputShape, setup.Seed, setup.Train.Black);
        _mixed = Mixer.IsWanted(setup.Augment) ? new MixedRows(setup, _sampler, _augmenter!, MaxRows) : null;
        _examples = new long[MaxRows];
    }

    /// <summary>The most rows at once.</summary>
    public int MaxRows => (int)Math.Min(Math.Min(_setup.BatchSize, _setup.Train.Count), _setup.MostRows);

    /// <summary>What <see cref="Gather"/> fills beside features: what the data has, or soft targets where labels are mixed.</summary>
    public TargetSpec Target => _mixed is null ? _setup.Train.Target : TargetSpec.Real(_setup.Train.Target.Width);

    /// <summary>Mini-batches of an epoch.</summary>
    public long StepsPerEpoch => _sampler.StepsPerEpoch;

    /// <summary>Examples of the mini-batch of a step: the last one of an epoch may be short.</summary>
    public int BatchSize(long step) => _sampler.At(step).Size;

    /// <summary>Fills features, and labels or targets, each (rows.Rows, …), and for each shard of <paramref name="rows"/> the digest of its examples.</summary>
    public void Gather(long step, ShardRows rows, float* inputs, int* labels, float* targets, Span<ulong> digests)
    {
        MiniBatch batch = _sampler.At(step);
        for (int leaf = 0; leaf < rows.Shards.Count; leaf++)
        {
            (long start, _) = ShardSlice.Of(batch.Size, _tree.Shards, rows.Shards[leaf]);
            int first = rows.Plan.LeafRows[leaf];
            Span<long> mine = _examples.AsSpan(first, rows.Plan.LeafRows[leaf + 1] - first);
            _sampler.Fill(batch, (int)start, mine);
            digests[leaf] = ExampleDigest.Of(mine);
        }

        ReadOnlySpan<long> examples = _examples.AsSpan(0, rows.Rows);
        var images = new Span<float>(inputs, rows.Rows * _setup.Train.FeatureCount);
        if (_mixed is null) _setup.Train.Gather(examples, inputs, labels, targets);
        else _setup.Train.GatherInputs(examples, images);
        _augmenter?.Apply(batch.Epoch, examples, images);
        _mixed?.Apply(step, batch, rows, examples, images, new Span<float>(targets, rows.Rows * Target.Width));
    }
}
