using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;
using DistTrain.Nn;
using DistTrain.Training.ParameterServer;

namespace DistTrain.Training.Worker;

/// <summary>What workers know of a job in local SGD.</summary>
/// <param name="Every">Mini-batches of a round: what a step is to the servers.</param>
/// <param name="Inner">How a shard's own weights change by a mini-batch; its rate is of mini-batches, from 0.</param>
public sealed record LocalRule(int Every, UpdateRule Inner)
{
    /// <summary>The mini-batches of a round: the last one of an epoch may have fewer.</summary>
    public static (long First, int Count) MiniBatches(long round, int every, long perEpoch)
    {
        long rounds = (perEpoch + every - 1) / every, first = round % rounds * every;
        return ((round / rounds * perEpoch) + first, (int)Math.Min(every, perEpoch - first));
    }
}

/// <summary>
/// A round of local SGD for one shard (Stich 2019; with an outer optimizer that has momentum, DiLoCo: Douillard et al. 2023): the shard's own
/// weights begin as the servers', change by its part of one mini-batch after the other, and what they moved by is what the
/// servers take for a gradient. The optimizer's state begins anew each round, so a shard's round depends on nothing but the
/// weights that it began with: whoever computes it, the bits are the same.
/// </summary>
internal sealed unsafe class LocalTraining : IGradientListener, IDisposable
{
    private readonly WorkerSetup _setup;
    private readonly LocalRule _rule;
    private readonly ShardTree _tree;
    private readonly BatchSource _source;
    private readonly ModelRun _run;
    private readonly PartitionState _own;
    private readonly NativeBuffer _gradient;
    private readonly Bucket _all;
    private readonly SegmentStats[] _stats = new SegmentStats[1];
    private readonly ulong[] _digest = new ulong[1];
    private readonly Dictionary<(int Size, int Shard), ShardRows> _rows = [];
    private long _first;

    public LocalTraining(WorkerSetup setup, LocalRule rule, ShardTree tree, BatchSource source, ModelRun run)
    {
        (_setup, _rule, _tree, _source, _run) = (setup, rule, tree, source, run);
        Partition whole = new BucketPlan(setup.Model.Layout, 1, int.MaxValue).Partitions[0];
        _all = whole.Buckets.Single();
        _own = new PartitionState(setup.Model.Layout, whole, rule.Inner with { LearningRate = step => rule.Inner.LearningRate(_first + step) });
        _gradient = new NativeBuffer(setup.Model.Layout.Length);
    }

    /// <summary>Computes a round for the one shard that <paramref name="round"/> is begun with.</summary>
    /// <param name="weights">The servers' weights, all of them.</param>
    /// <param name="shard">The shard.</param>
    /// <param name="round">Where what the weights moved by, times the shard's total weight, and its statistics go.</param>
    /// <exception cref="NotFiniteException">The loss is no finite number; its <see cref="NotFiniteException.MiniBatch"/> says where.</exception>
    public void Run(float* weights, int shard, GradientRound round)
    {
        (_first, int count) = LocalRule.MiniBatches(round.Step, _rule.Every, _source.StepsPerEpoch);
        long length = _setup.Model.Layout.Length;
        Elementwise.Copy(weights, Own(0), (nint)length);
        foreach (string state in _rule.Inner.StateVectors) Elementwise.Fill((float*)_own.Vector(state, 0, 0, (int)length).Address, (nint)length, 0);
        SegmentStats total = default;
        for (int step = 0; step < count; step++)
        {
            _stats[0] = default;
            ShardRows rows = RowsOf(_source.BatchSize(_first + step), shard);
            if (rows.Rows > 0) Compute(_first + step, Own(step), rows);
            _own.Apply(_all, step, new NativeSpan((nint)_gradient.Pointer, (int)length), _stats[0]);
            total = SegmentStats.Join(total, _stats[0]);
        }

        round.Stats[0] = total;
        Moved(weights, Own(count), (float*)round.Plan.Gradients[0], total);
    }

    /// <inheritdoc/>
    public void Ready(long flatStart, long flatEnd)
    {
        // The update waits for all of it.
    }

    public void Dispose()
    {
        _own.Dispose();
        _gradient.Dispose();
    }

    private float* Own(long version) => (float*)_own.Weights(version, 0, 1).Address;

    private void Compute(long miniBatch, float* own, ShardRows rows)
    {
        _source.Gather(miniBatch, rows, _run.Input, _run.Labels, _run.Targets, _digest);
        rows.Plan.Gradients[0] = (nint)_gradient.Pointer;
        _run.Forward(own, rows.Rows, new StepKey(_setup.Seed, miniBatch, Training: true), rows.Plan);
        _run.Loss(rows.Rows, rows.Plan, _stats);
        _stats[0] = _stats[0] with { ExampleDigest = _digest[0] };
        if (!double.IsFinite(_stats[0].LossSum)) throw new NotFiniteException(miniBatch, _stats[0].LossSum, _run.FirstNotFinite(own, rows.Rows, rows.Plan));
        _run.Backward(own, rows.Rows, rows.Plan, this);
    }

    // Of buffers the servers take the mean over examples: they get what the shard's came to.
    private void Moved(float* from, float* to, float* sum, in SegmentStats total)
    {
        long length = _setup.Model.Layout.Length;
        Elementwise.Subtract(from, to, sum, (nint)length);
        Elementwise.Scale((float)total.WeightSum, sum, sum, (nint)length);
        foreach (TensorEntry tensor in _setup.Model.Layout.Tensors)
        {
            if (tensor.Role == TensorRole.Buffer) Elementwise.Scale(total.Examples, to + tensor.Offset, sum + tensor.Offset, (nint)(tensor.End - tensor.Offset));
        }
    }

    private ShardRows RowsOf(int size, int shard)
    {
        if (!_rows.TryGetValue((size, shard), out ShardRows? rows)) _rows[(size, shard)] = rows = new ShardRows(_tree, [shard], size);
        return rows;
    }
}

/// <summary>A loss that is no finite number.</summary>
internal sealed class NotFiniteException(long miniBatch, double loss, string? where) : Exception
{
    public long MiniBatch => miniBatch;

    public double Loss => loss;

    public string? Where => where;
}
