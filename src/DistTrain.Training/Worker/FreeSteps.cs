using System.Collections.Immutable;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;

namespace DistTrain.Training.Worker;

/// <summary>
/// What a worker computes where steps don't wait for each other: the lowest step with shards that it hasn't pushed, with the
/// newest weights that are there, as long as those lack no more steps than the job allows. A step is usually pushed as the
/// highest tree nodes of the worker's shards; one that others may have begun under another assignment is pushed shard by shard, because
/// servers apply a segment whole or not at all.
/// </summary>
internal sealed unsafe class FreeSteps(WorkerSetup setup, ShardTree tree, TrainingLoop loop, Stall stall) : IDisposable
{
    /// <summary>Computations whose gradients servers may still have to read.</summary>
    public const int MostRounds = 4;

    private readonly DoneShards _done = new(tree, Consistency.MostAhead);
    private readonly List<GradientRound> _rounds = [];
    private readonly GradientVectors _vectors = new(setup.Model.Layout.Length);
    private readonly Dictionary<int, List<ShardRows>> _rows = [];
    private FreshWeights? _weights;
    private GradientBuckets? _buckets;
    private ImmutableArray<int> _shards = [];
    private List<ShardRows>? _groups;
    private int _group;
    private long _step;
    private long _next;
    private long _granted;
    private long _committed;
    private long _apart;
    private long _number;
    private bool _clocked;

    /// <summary>A new term: nothing is assigned or granted.</summary>
    public void Enter(FreshWeights weights, GradientBuckets buckets)
    {
        for (long step = _committed; step < _committed + Consistency.MostAhead; step++) _done.Forget(step);
        foreach (GradientRound round in _rounds) round.Abandon();
        (_weights, _buckets, _shards, _groups, _clocked) = (weights, buckets, [], null, false);
        (_next, _granted, _committed, _apart, _number) = (0, 0, 0, 0, 0);
        _rows.Clear();
    }

    /// <summary>The worker's shards from now on; of the steps that aren't committed too.</summary>
    public void Assign(ImmutableArray<int> shards)
    {
        for (long step = _committed; step < _granted; step++) _done.Keep(step, shards);
        (_shards, _groups, _next, _apart) = (shards, null, _committed, _granted);
        _rows.Clear();
    }

    /// <summary>The coordinator's clock.</summary>
    public void Advance(long granted, long committed)
    {
        for (long step = _committed; step < Math.Min(committed, _committed + Consistency.MostAhead); step++) _done.Forget(step);
        _committed = Math.Max(_committed, committed);
        // No coordinator grants more: what is granted is gone through step by step.
        _granted = Math.Max(_granted, Math.Min(granted, _committed + Consistency.MostAhead));
        _next = Math.Max(_next, _committed);
        // One who comes while training goes on can't know what others did of the steps that were granted by then.
        if (!_clocked) (_clocked, _apart) = (true, _granted);
    }

    /// <summary>Computes and pushes one group of rows; false when there is nothing to do until something arrives.</summary>
    public bool TryCompute()
    {
        if (_weights is null || !_clocked) return false;
        // Asked before it is looked at: what comes in between is not missed.
        _weights.Await();
        if (_groups is not null && _step < _committed) _groups = null;
        if (_groups is null && !Pick()) return Wait(TraceName.WaitForGrant, _next);
        _weights.Refresh();
        if (_weights.Version < 0 || _step > _weights.Version + setup.Consistency.Bound) return Wait(TraceName.WaitForWeights, _step);
        if (FreeRound() is not { } round) return Wait(TraceName.WaitForWeights, _step);
        stall.End();
        setup.Trace.Count(TraceName.ManagedBytes, setup.Trace is null ? 0 : GC.GetTotalAllocatedBytes());
        ShardRows rows = _groups![_group];
        round.Begin(_step, rows);
        (round.Basis, round.Number) = (_weights.Version, _number);
        _number += rows.Sent.Count;
        round.Oldest = Oldest();
        loop.Begin(rows, round);
        loop.TryStep(_weights.Pointer, rows, round, _buckets!, gate: null);
        foreach (int shard in rows.Shards) _done.Add(_step, shard);
        if (++_group == _groups.Count) _groups = null;
        return true;
    }

    /// <summary>Pushes again what the server of a partition may not have got.</summary>
    public void Resend(int partition)
    {
        foreach (GradientRound round in _rounds.Where(r => r.Step >= _committed && !IsTaken(r)).OrderBy(r => r.Number)) _buckets!.Resend(round, partition);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (GradientRound round in _rounds) round.Dispose();
        _vectors.Dispose();
    }

    private bool Wait(TraceName name, long step)
    {
        stall.Begin(name, step);
        return false;
    }

    private bool Pick()
    {
        for (; _next < _granted; _next++)
        {
            if (!IsMissing(_next)) continue;
            (_step, _groups, _group) = (_next, RowsFor(_next), 0);
            return true;
        }

        return false;
    }

    private bool IsMissing(long step)
    {
        foreach (int shard in _shards)
        {
            if (!_done.Has(step, shard)) return true;
        }

        return false;
    }

    private List<ShardRows> RowsFor(long step)
    {
        int size = loop.BatchSize(step);
        bool rounds = !setup.Wire.Gradients.IsExact;
        if (step < _apart || !_done.IsEmpty(step)) return ShardRows.OneByOne(tree, [.. _shards.Where(s => !_done.Has(step, s))], size, rounds);
        if (!_rows.TryGetValue(size, out List<ShardRows>? rows)) _rows[size] = rows = ShardRows.Groups(tree, _shards, size, loop.MaxRows, apart: rounds);
        return rows;
    }

    private bool IsTaken(GradientRound round) => _weights!.IsTaken(round.Number + round.Sent.Count - 1);

    private long Oldest()
    {
        long oldest = _number;
        foreach (GradientRound round in _rounds)
        {
            if (round.Step >= _committed && !IsTaken(round)) oldest = Math.Min(oldest, round.Number);
        }

        return oldest;
    }

    private GradientRound? FreeRound()
    {
        foreach (GradientRound round in _rounds)
        {
            if (round.Step < _committed || IsTaken(round)) return round;
        }

        if (_rounds.Count == MostRounds) return null;
        _rounds.Add(new GradientRound(setup.Model.Layout.Length, setup.Wire.Gradients, _vectors, setup.SharesMemory));
        return _rounds[^1];
    }
}
