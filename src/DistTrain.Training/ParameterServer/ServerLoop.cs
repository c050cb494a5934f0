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
    // More than is ever granted ahead of a commit.
    private const int MostHistory = 256;

    // As far as a first copy gets ahead of a second one, with one more that waits.
    private const int MostEarly = ReplicaFeed.MostAhead + 2;

    private readonly ShardTree _tree;
    private readonly PartitionState _state;
    private readonly SegmentPool _pool;
    private readonly SegmentTable[] _tables;
    private readonly long[] _steps;
    private readonly CheckpointCuts _cuts;
    private readonly EvaluationTable _evaluation;
    private readonly Action<MemberMessage> _report;
    private readonly bool _isReplica;
    private readonly bool _replicated;
    private readonly ReplicaFeed? _feed;
    private readonly List<AppliedStep> _history = new(MostHistory);
    private readonly List<NormsDecided> _norms = [];
    private readonly Dictionary<long, (SegmentHeader Header, ISegmentBuffer Sum)>[] _early;
    private readonly CheckpointCuts? _copies;
    private long _granted;
    private long _committed;
    private readonly List<float> _squares = [];
    private readonly WatchedStep _watched;
    private long _measured = -1;
    private int _applied;
    private long _pushed;
    private int _held;

    public ServerLoop(ShardTree tree, PartitionState state, long term, long version, Action<MemberMessage> report, Action<CheckpointCut> upload)
        : this(tree, state, new OwnPartition(term, state.Partition.Index, 1, 1, version), null, null, report, upload)
    {
    }

    /// <summary>
    /// Begins a term: with a partition that stands at its version, or where <see cref="OwnPartition.Keep"/> says so, with what the loop of the
    /// term before, which is at rest, held.
    /// </summary>
    public ServerLoop(
        ShardTree tree, PartitionState state, OwnPartition own, ServerLoop? before, ReplicaFeed? feed, Action<MemberMessage> report, Action<CheckpointCut> upload,
        Action<CheckpointCut>? copy = null)
    {
        (long term, long version) = (own.Term, own.Version);
        (_tree, _state, Term, _report, _feed) = (tree, state, term, report, feed);
        (_isReplica, _replicated, _committed) = (own.IsReplica, own.Replicated, version);
        _pool = new SegmentPool(feed is not null && state.Rule.SharesMemory);
        _cuts = new CheckpointCuts(state, term, upload);
        _evaluation = new EvaluationTable(tree, _pool, report);
        _granted = version;
        _watched = new WatchedStep(state);
        _tables = [.. state.Partition.Buckets.Select((bucket, local) => new SegmentTable(tree, _pool, Wire, bucket, Packed)
        {
            Halves = (left, leftStats, right, rightStats) =>
            {
                if (!Watches(_steps![local])) return;
                using var first = new Opened(_pool, Packed, left, bucket);
                using var second = new Opened(_pool, Packed, right, bucket);
                _watched.Halves(local, first.Elements, leftStats, second.Elements, rightStats);
            },
        })];
        _steps = before is null ? [.. state.Partition.Buckets.Select(_ => version)] : [.. before._steps];
        foreach (Bucket bucket in before is null ? [.. state.Partition.Buckets] : Array.Empty<Bucket>()) state.Pack(bucket, version);
        _applied = _steps.Contains(version) ? _steps.Count(step => step > version) : 0;
        if (before is not null)
        {
            _norms.AddRange(before._norms);
            _history.AddRange(before._history.Where(a => a.Step >= version));
            if (before._feed is not null && feed is not null) feed.Inherit(before._feed, version);
        }

        _early = [.. _tables.Select(_ => new Dictionary<long, (SegmentHeader, ISegmentBuffer)>())];
        if (own.CopyAt > 0 && feed is not null && copy is not null)
        {
            _copies = new CheckpointCuts(state, term, copy);
            _copies.Begin(own.CopyAt);
            for (int local = 0; local < _steps.Length; local++) _copies.Copy(state.Partition.Buckets[local], _steps[local]);
        }

        Broadcast = new WeightsBroadcast(state, term, _steps, version, _isReplica);
    }

    /// <summary>The partition's numbers.</summary>
    public PartitionState State => _state;

    /// <summary>What is held for another term to go on with; only once the loop rests.</summary>
    public HeldPartition Held(OwnPartition own) => new(own.Term, own.Partition, own.Partitions, own.BucketLength, _isReplica, _steps.Min())
    {
        IsAhead = _steps.Max() > _steps.Min(),
        Shares = own.Shares,
        Applied = [.. _history],
        Norms = _norms.LastOrDefault(),
    };

    /// <summary>The term is over: nothing more is taken or published, and what waits is given back. The partition stays as it is.</summary>
    public void Rest()
    {
        Broadcast.Close();
        foreach (SegmentTable table in _tables) table.Reset();
        DropEarly();
        _feed?.Disconnect();
    }

    /// <summary>The second copy can be reached: it gets all that it may lack.</summary>
    public void Connected(ReplicaFeed feed, IServerConnection connection)
    {
        if (feed == _feed) feed.Connected(connection, Term);
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
        else if (header.Step > _steps[local])
        {
            KeepEarly(header, local, buffer!);
        }
        else if (Reduce(header, local, buffer!) == Placement.Complete)
        {
            Step(local);
            CatchUp();
        }
    }

    /// <summary>The second copy counts: no step waits any more for what it lacks.</summary>
    public void CopyCounts()
    {
        _feed?.Counts();
        for (int local = 0; local < _tables.Length; local++) Step(local);
    }

    /// <summary>The coordinator's clock moved: more steps are granted, or versions are to be saved.</summary>
    public void Advance(Clock clock)
    {
        Broadcast.Commit(clock.CommittedVersion);
        _committed = Math.Max(_committed, clock.CommittedVersion);
        _feed?.Commit(_committed);
        while (_history.Count > 0 && _history[0].Step < clock.CommittedVersion) _history.RemoveAt(0);
        // One copy of a partition is enough in a checkpoint.
        foreach (long version in _isReplica ? [] : clock.Checkpoints)
        {
            if (_cuts.Begin(version)) CopyForCheckpoints();
        }

        _state.RateFactor = clock.RateFactor;
        _granted = Math.Max(_granted, clock.GrantedUntil);
        for (int local = 0; local < _tables.Length; local++) Step(local);
        CatchUp();
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

    /// <inheritdoc/>
    public Explained Explain(long round)
    {
        long step = _steps.Min();
        int[] behind = [.. Enumerable.Range(0, _steps.Length).Where(local => _steps[local] == step)];
        int[] lacking = [.. behind.Where(local => !_tables[local].Complete)];
        var explained = new Explained(round, "") { Step = step };
        if (step >= _granted) return explained with { Doing = $"stands at step {step} and waits for the coordinator to let it go on" };
        if (_isReplica && lacking.Length > 0) return explained with { Doing = $"waits for what the first copy reduced of step {step}, in {lacking.Length} bucket{(lacking.Length == 1 ? "" : "s")}" };
        if (lacking.Length > 0)
        {
            return explained with
            {
                Doing = "waits for shards",
                Shards = [.. lacking.SelectMany(local => _tables[local].Missing).Distinct().Order()],
                Buckets = [.. lacking.Select(local => _state.Partition.Buckets[local].Index)],
            };
        }

        string what = _replicated && step > _committed ? $"the commit of step {step}, which every copy has to reach"
            : _feed?.IsFull(step) == true ? "the second copy, which is being made"
            : _state.Rule.NeedsNorms ? $"the norms of step {step}"
            : "nothing";
        return explained with { Doing = $"has reduced step {step} and waits for {what}" };
    }

    public void Dispose()
    {
        Broadcast.Close();
        foreach (SegmentTable table in _tables) table.Reset();
        DropEarly();
        _feed?.Dispose();
        _pool.Dispose();
        // The partition's memory goes with its last reader: a subscriber may be sending from it at this moment.
    }

    /// <summary>The norms over the whole model, that a step waits for: it is applied to all buckets.</summary>
    public void Decided(NormsDecided norms)
    {
        long first = _steps.Min();
        if (_norms.Count == MostHistory) _norms.RemoveAt(0);
        _norms.RemoveAll(n => n.Step < first || n.Step == norms.Step);
        _norms.Add(norms);
        Follow(norms);
    }

    private void Follow(NormsDecided norms)
    {
        if (norms.Step != _measured) return;
        if (!Array.Exists(_steps, step => step == norms.Step)) return;
        NormsDecision decision = _state.Decide(norms.Step, _tables[Array.IndexOf(_steps, norms.Step)].Stats, norms.Squares);
        for (int local = 0; local < _tables.Length; local++)
        {
            if (_steps[local] == norms.Step) Apply(local, decision);
        }

        CatchUp();
    }

    // A second copy that is made while training goes on gets several steps at once.
    private void KeepEarly(in SegmentHeader header, int local, ISegmentBuffer sum)
    {
        if (!_early[local].TryAdd(header.Step, (header, sum))) sum.Release();
    }

    // One step of all buckets after the other: they are never more than one apart.
    private void CatchUp()
    {
        if (!_isReplica) return;
        for (bool moves = true; moves;)
        {
            moves = false;
            long first = _steps.Min();
            for (int local = 0; local < _steps.Length; local++)
            {
                if (_steps[local] != first) continue;
                if (_early[local].Remove(first, out var early))
                {
                    if (_tables[local].Complete) early.Sum.Release();
                    else Reduce(early.Header, local, early.Sum);
                }

                Step(local);
                moves |= _steps[local] > first;
            }
        }
    }

    private void DropEarly()
    {
        foreach (var queue in _early)
        {
            foreach ((_, (_, ISegmentBuffer sum)) in queue) sum.Release();
            queue.Clear();
        }
    }


    // The first copy has seen the gradient.
    private bool Watches(long step) => !_isReplica && _state.Rule.Watches(step);

    // The first copy sends what it reduced as it is.
    private WireFormat Wire => _isReplica ? WireFormat.Exact : _state.Rule.Wire.Gradients;

    // 16-bit values stay packed and are joined on the way to their update.
    private ValueFormat? Packed => Wire is ValueFormat { IsExact: false } format ? format : null;

    private Placement Reduce(in SegmentHeader header, int local, ISegmentBuffer buffer)
    {
        long began = Trace.Begin();
        int held = _tables[local].Held;
        ISegmentBuffer? values = Packed is not null ? buffer : _pool.Unpacked(Wire, buffer, _state.Partition.Buckets[local]);
        if (values is null) return Placement.Dropped;
        Placement placement = _tables[local].Place(_tree.Find(header.Shards), header.Stats, values, header.Step);
        Trace.End(TraceName.Reduced, began, header.Step, header.Bucket, header.Shards);
        Trace.Count(TraceName.SegmentsHeld, _held += _tables[local].Held - held);
        return placement;
    }

    // The step of one bucket: reduced (the table's root is full), then applied, published and reported.
    private void Step(int local)
    {
        // With second copies, the version before has to be safe before it is overwritten.
        if (!_tables[local].Complete || _steps[local] >= _granted || (_replicated && _steps[local] > _committed) || _feed?.IsFull(_steps[local]) == true) return;
        if (_isReplica && _steps[local] > _steps.Min()) return;
        if (!_state.Rule.NeedsNorms) Apply(local, null);
        else MeasureWhenAllReduced(_steps[local]);
    }

    private void Apply(int local, NormsDecision? decision)
    {
        SegmentTable table = _tables[local];
        Bucket bucket = _state.Partition.Buckets[local];
        long began = Trace.Begin();
        SegmentStats stats = table.Stats;
        if (Watches(_steps[local])) _watched.Root(local, table.Root!.Elements);
        int held = table.Held;
        ISegmentBuffer? sent = _feed is null ? null : table.TakeRoot();
        (NativeSpan gradient, NativeSpan right) = sent is not null ? (sent.Elements, default) : table.Halfway ?? (table.Root!.Elements, default);
        ValueFormat? packed = right.Address == 0 ? null : Packed;
        if (sent is not null) _feed!.Push(Term, _steps[local], bucket, stats, sent);
        _state.Apply(bucket, _steps[local], gradient, stats, decision, right, packed);
        _held -= held;
        table.Reset();
        Volatile.Write(ref _steps[local], _steps[local] + 1);
        _cuts.Copy(bucket, _steps[local]);
        _copies?.Copy(bucket, _steps[local]);
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
        if (!_isReplica) _report(new NormsMeasured(Term, _state.Partition.Index, step, [.. _squares]));
        if (_norms.Find(n => n.Step == step) is { } decided) Follow(decided);
    }

    // Buckets are at most one step apart, because nobody computes step t + 1 before every bucket stands at t + 1.
    private void ReportWhenAllApplied(long step, SegmentStats stats)
    {
        if (++_applied < _tables.Length) return;
        _applied = 0;
        if (Trace is not null) Trace.Count(TraceName.ManagedBytes, GC.GetTotalAllocatedBytes());
        if (_history.Count == MostHistory) _history.RemoveAt(0);
        _history.Add(new AppliedStep(step, stats));
        if (Watches(step)) _report(_watched.Take(Term, step));
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
            : Volatile.Read(ref _steps[local]) is var step && header.Step >= step && header.Step <= step + (_isReplica ? MostEarly : 0);
    }

    // What a segment holds in fp32, for as long as somebody looks at it.
    private readonly unsafe struct Opened : IDisposable
    {
        private readonly ISegmentBuffer? _own;

        public Opened(SegmentPool pool, ValueFormat? packed, ISegmentBuffer segment, Bucket bucket)
        {
            Elements = segment.Elements;
            if (packed is null) return;
            _own = pool.Rent(bucket.Length);
            packed.Unpack(segment.Elements, (float*)_own.Elements.Address, bucket.Length);
            Elements = _own.Elements;
        }

        public NativeSpan Elements { get; }

        public void Dispose() => _own?.Release();
    }
}
