using System.Collections.Immutable;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;

namespace DistTrain.Training.ParameterServer;

/// <summary>
/// The training step as a parameter server sees it, for one partition under one term. Each bucket goes on its own:
/// segments arrive, join along the shard tree, and when the root is full the bucket is updated and published at once.
/// <see cref="TryBegin"/> is called from the channel's threads, everything else by the server's actor.
/// </summary>
internal sealed class ServerLoop : IServerLoop
{
    private readonly ShardTree _tree;
    private readonly PartitionState _state;
    private readonly SegmentPool _pool = new();
    private readonly SegmentTable[] _tables;
    private readonly long[] _steps;
    private readonly CheckpointCuts _cuts;
    private readonly EvaluationTable _evaluation;
    private readonly Action<MemberMessage> _report;
    private long _granted;
    private readonly List<float> _squares = [];
    private readonly WatchedStep _watched;
    private long _measured = -1;
    private int _applied;
    private long _pushed;
    private int _held;

    public ServerLoop(ShardTree tree, PartitionState state, long term, long version, Action<MemberMessage> report, Action<CheckpointCut> upload)
    {
        (_tree, _state, Term, _report) = (tree, state, term, report);
        _cuts = new CheckpointCuts(state, term, upload);
        _evaluation = new EvaluationTable(tree, _pool, report);
        _granted = version;
        _watched = new WatchedStep(state);
        _tables = [.. state.Partition.Buckets.Select((bucket, local) => new SegmentTable(tree, _pool, state.Rule.Wire.Gradients, bucket)
        {
            Halves = (left, leftStats, right, rightStats) =>
            {
                if (_state.Rule.Watches(_steps![local])) _watched.Halves(local, left, leftStats, right, rightStats);
            },
        })];
        _steps = [.. state.Partition.Buckets.Select(_ => version)];
        foreach (Bucket bucket in state.Partition.Buckets) state.Pack(bucket, version);
        Broadcast = new WeightsBroadcast(state, term, version);
    }

    public long Term { get; }

    public WeightsBroadcast Broadcast { get; }

    /// <summary>Where what the server does is recorded; null for nowhere.</summary>
    public TraceRecorder? Trace { get; init; }

    /// <summary>Room for a segment, or null to drop it. Everything is checked before memory is taken.</summary>
    public ISegmentBuffer? TryBegin(in SegmentHeader header, int length) =>
        Wants(header, length) ? _pool.Rent(length) : null;

    /// <summary>Whether a segment is one of the step in hand, and of the right size.</summary>
    public bool Wants(in SegmentHeader header, int length) =>
        Accepts(header, out int local) && header.Kind == SegmentKind.Gradient && Wire.Fits(_state.Partition.Buckets[local], length);

    /// <summary>A segment has arrived whole.</summary>
    public void Receive(SegmentHeader header, ISegmentBuffer? buffer)
    {
        _pushed += (buffer?.Elements.Length ?? 0) * (long)sizeof(float);
        if (!Accepts(header, out int local))
        {
            buffer?.Release();
        }
        else if (header.Kind == SegmentKind.Evaluation)
        {
            _evaluation.Place(header);
        }
        else if (Reduce(header, local, buffer!) == Placement.Complete)
        {
            Step(local);
        }
    }

    /// <summary>The coordinator's clock moved: more steps are granted, or versions are to be saved.</summary>
    public void Advance(Clock clock)
    {
        Broadcast.Commit(clock.CommittedVersion);
        foreach (long version in clock.Checkpoints)
        {
            if (_cuts.Begin(version)) CopyForCheckpoints();
        }

        _state.RateFactor = clock.RateFactor;
        _granted = Math.Max(_granted, clock.GrantedUntil);
        for (int local = 0; local < _tables.Length; local++) Step(local);
    }

    /// <inheritdoc/>
    public ImmutableArray<int> Missing(long step, bool evaluation)
    {
        if (evaluation) return StandsAt(step) ? _evaluation.Missing(step) : [];
        var missing = new SortedSet<int>();
        for (int local = 0; local < _tables.Length; local++)
        {
            if (_steps[local] == step) missing.UnionWith(_tables[local].Missing);
        }

        return [.. missing];
    }

    public void Dispose()
    {
        Broadcast.Close();
        foreach (SegmentTable table in _tables) table.Reset();
        _pool.Dispose();
        // The partition's memory goes with its last reader: a subscriber may be sending from it at this moment.
    }

    /// <summary>The norms over the whole model, that a step waits for: it is applied to all buckets.</summary>
    public void Decided(NormsDecided norms)
    {
        if (norms.Step != _measured) return;
        if (!Array.Exists(_steps, step => step == norms.Step)) return;
        NormsDecision decision = _state.Decide(norms.Step, _tables[Array.IndexOf(_steps, norms.Step)].Stats, norms.Squares);
        for (int local = 0; local < _tables.Length; local++)
        {
            if (_steps[local] == norms.Step) Apply(local, decision);
        }
    }

    private WireFormat Wire => _state.Rule.Wire.Gradients;

    private Placement Reduce(in SegmentHeader header, int local, ISegmentBuffer buffer)
    {
        long began = Trace.Begin();
        int held = _tables[local].Held;
        if (_pool.Unpacked(Wire, buffer, _state.Partition.Buckets[local]) is not { } values) return Placement.Dropped;
        Placement placement = _tables[local].Place(_tree.Find(header.Shards), header.Stats, values, header.Step);
        Trace.End(TraceName.Reduced, began, header.Step, header.Bucket, header.Shards);
        Trace.Count(TraceName.SegmentsHeld, _held += _tables[local].Held - held);
        return placement;
    }

    // The step of one bucket: reduced (the table's root is full), then applied, published and reported.
    private void Step(int local)
    {
        if (!_tables[local].Complete || _steps[local] >= _granted) return;
        if (!_state.Rule.NeedsNorms) Apply(local, null);
        else MeasureWhenAllReduced(_steps[local]);
    }

    private void Apply(int local, NormsDecision? decision)
    {
        SegmentTable table = _tables[local];
        Bucket bucket = _state.Partition.Buckets[local];
        long began = Trace.Begin();
        SegmentStats stats = table.Stats;
        if (_state.Rule.Watches(_steps[local])) _watched.Root(local, table.Root!.Elements);
        (NativeSpan gradient, NativeSpan right) = table.Halfway ?? (table.Root!.Elements, default);
        _state.Apply(bucket, _steps[local], gradient, stats, decision, right);
        _held -= table.Held;
        table.Reset();
        Volatile.Write(ref _steps[local], _steps[local] + 1);
        _cuts.Copy(bucket, _steps[local]);
        _state.Pack(bucket, _steps[local]);
        Trace.End(TraceName.Applied, began, _steps[local] - 1, bucket.Index);
        began = Trace.Begin();
        Broadcast.Publish(bucket, _steps[local]);
        Trace.End(TraceName.Published, began, _steps[local], bucket.Index);
        ReportWhenAllApplied(_steps[local] - 1, stats);
    }

    // Reduce → decide → apply → publish: no bucket changes before the norms of all are known.
    private void MeasureWhenAllReduced(long step)
    {
        if (_measured >= step || !Array.TrueForAll(_tables, t => t.Complete)) return;
        _measured = step;
        _squares.Clear();
        for (int local = 0; local < _tables.Length; local++)
        {
            (Bucket bucket, NativeSpan gradient) = (_state.Partition.Buckets[local], _tables[local].Root!.Elements);
            _state.Prepare(bucket, step, gradient, _tables[local].Stats);
            _state.Measure(bucket, _state.Measured(bucket, gradient), _squares);
        }

        foreach (Bucket bucket in _state.Rule.Trust is null ? [] : _state.Partition.Buckets) _state.Measure(bucket, _state.Weights(step, bucket.Offset, bucket.Length), _squares);
        _report(new NormsMeasured(Term, _state.Partition.Index, step, [.. _squares]));
    }

    // Buckets are at most one step apart, because nobody computes step t + 1 before every bucket stands at t + 1.
    private void ReportWhenAllApplied(long step, SegmentStats stats)
    {
        if (++_applied < _tables.Length) return;
        _applied = 0;
        if (Trace is not null) Trace.Count(TraceName.ManagedBytes, GC.GetTotalAllocatedBytes());
        if (_state.Rule.Watches(step)) _report(_watched.Take(Term, step));
        _report(new StepApplied(Term, _state.Partition.Index, step, stats) { Traffic = new(_pushed, Broadcast.SentBytes) });
    }

    private void CopyForCheckpoints()
    {
        for (int local = 0; local < _steps.Length; local++) _cuts.Copy(_state.Partition.Buckets[local], _steps[local]);
    }

    private bool StandsAt(long version) => Array.TrueForAll(_steps, step => step == version);

    // Lower terms, committed steps, unknown buckets and ranges that are no node of the tree are not this step's business.
    private bool Accepts(in SegmentHeader header, out int local)
    {
        local = header.Kind == SegmentKind.Evaluation ? 0 : header.Bucket - _state.Partition.Buckets[0].Index;
        if (header.Term != Term || (uint)local >= (uint)_tables.Length || _tree.Find(header.Shards) < 0) return false;
        return header.Kind == SegmentKind.Evaluation
            ? header.Step >= _evaluation.Version && StandsAt(header.Step)
            : header.Step == Volatile.Read(ref _steps[local]);
    }
}
