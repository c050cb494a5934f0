using System.Collections.Concurrent;
using System.Collections.Immutable;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;

namespace DistTrain.Training.ParameterServer;

/// <summary>
/// The training step as a parameter server sees it where steps don't wait for each other: each segment is an update of its
/// bucket as soon as it is there, at the rate times its share of the mini-batch's examples, and is published at once. What is
/// there is counted in <see cref="ShardCoverage"/>; a segment that overlaps it is dropped. Weights change in place: one
/// who reads them meanwhile has some elements from before the update and some from after it.
/// </summary>
internal sealed class SegmentwiseLoop : IServerLoop
{
    // So many steps before the end of the grant, the coordinator is told.
    private const int Near = 2;

    private readonly ShardTree _tree;
    private readonly PartitionState _state;
    private readonly SegmentPool _pool = new();
    private readonly ShardCoverage[] _coverage;
    private readonly long[] _updates;
    private readonly ConcurrentDictionary<ulong, TakenSegments[]> _taken = [];
    private readonly List<(SegmentHeader Header, ISegmentBuffer Buffer)> _early = [];
    private readonly SegmentStats[] _stats = new SegmentStats[Consistency.MostAhead];
    private readonly int[] _wholeBuckets = new int[Consistency.MostAhead];
    private readonly CheckpointCuts _cuts;
    private readonly EvaluationTable _evaluation;
    private readonly Action<MemberMessage> _report;
    private Staleness _staleness;
    private long _pushed;
    private long _committed;
    private long _granted;
    private long _applied;
    private long _reached;

    public SegmentwiseLoop(ShardTree tree, PartitionState state, long term, long version, Action<MemberMessage> report, Action<CheckpointCut> upload)
    {
        (_tree, _state, Term, _report) = (tree, state, term, report);
        (_committed, _granted, _applied, _reached) = (version, version, version, version - 1);
        // The whole window: what is granted may run ahead of this partition's own count by what others have not committed.
        _coverage = [.. state.Partition.Buckets.Select(_ => new ShardCoverage(tree.Shards, Consistency.MostAhead, version))];
        // A resumed run counts on from the fewest updates that there can have been.
        _updates = [.. state.Partition.Buckets.Select(_ => version)];
        _cuts = new CheckpointCuts(state, term, upload);
        _evaluation = new EvaluationTable(tree, _pool, report);
        foreach (Bucket bucket in state.Partition.Buckets) state.Pack(bucket, version);
        Broadcast = new WeightsBroadcast(state, term, version) { Mark = Mark };
    }

    /// <inheritdoc/>
    public long Term { get; }

    /// <inheritdoc/>
    public WeightsBroadcast Broadcast { get; }

    /// <inheritdoc/>
    public ISegmentBuffer? TryBegin(in SegmentHeader header, int length) => Wants(header, length) ? _pool.Rent(length) : null;

    /// <summary>
    /// Whether a segment is of a step that isn't committed, and of the right size. One that will be dropped because it is there
    /// already is taken too: its worker must hear that it is done with.
    /// </summary>
    public bool Wants(in SegmentHeader header, int length) =>
        Accepts(header, out int local) && header.Kind == SegmentKind.Gradient && Wire.Fits(_state.Partition.Buckets[local], length);

    /// <summary>Where what the server does is recorded; null for nowhere.</summary>
    public TraceRecorder? Trace { get; init; }

    /// <inheritdoc/>
    public Explained Explain(long round) => new(round, $"has applied what came of steps {_committed} to {_granted - 1}")
    {
        Step = _committed,
        Shards = _committed < _granted ? Missing(_committed, evaluation: false) : [],
    };

    /// <inheritdoc/>
    public void Receive(SegmentHeader header, ISegmentBuffer? buffer)
    {
        _pushed += (buffer?.Elements.Length ?? 0) * (long)sizeof(float);
        if (!Accepts(header, out int local)) buffer?.Release();
        else if (header.Kind == SegmentKind.Evaluation) _evaluation.Place(header);
        else if (header.Step >= _granted) _early.Add((header, buffer!));
        else Take(header, local, buffer!);
    }

    /// <inheritdoc/>
    public void Advance(Clock clock)
    {
        Broadcast.Commit(clock.CommittedVersion);
        foreach (long version in clock.Checkpoints)
        {
            if (_cuts.Begin(version)) CopyForCheckpoints();
        }

        _state.RateFactor = clock.RateFactor;
        Volatile.Write(ref _committed, Math.Max(_committed, clock.CommittedVersion));
        Volatile.Write(ref _granted, Math.Max(_granted, clock.GrantedUntil));
        TakeEarly();
    }

    /// <summary>Nobody waits for a straggler here.</summary>
    public ImmutableArray<int> Missing(long step, bool evaluation) => [];

    /// <summary>Nothing waits for norms here.</summary>
    public void Decided(NormsDecided norms)
    {
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Broadcast.Close();
        foreach ((_, ISegmentBuffer buffer) in _early) buffer.Release();
        _early.Clear();
        _pool.Dispose();
    }

    private WireFormat Wire => _state.Rule.Wire.Gradients;

    // A worker may hear of a grant first: what it pushes is put by.
    private void TakeEarly()
    {
        for (int i = 0; i < _early.Count;)
        {
            (SegmentHeader header, ISegmentBuffer buffer) = _early[i];
            if (header.Step >= _granted)
            {
                i++;
                continue;
            }

            _early.RemoveAt(i);
            Take(header, Local(header), buffer);
        }
    }

    private void Take(in SegmentHeader header, int local, ISegmentBuffer buffer)
    {
        Bucket bucket = _state.Partition.Buckets[local];
        bool rose = false;
        long began = Trace.Begin();
        if (!_coverage[local].Lacks(header.Step, header.Shards)) buffer.Release();
        else if (_pool.Unpacked(Wire, buffer, bucket) is { } values) rose = Apply(header, local, values);
        Trace.End(TraceName.Applied, began, header.Step, header.Bucket, header.Shards);
        Taken(header.Incarnation)[local].Add(header.Number, header.Oldest);
        began = Trace.Begin();
        Broadcast.Publish(bucket, _coverage[local].Version);
        Trace.End(TraceName.Published, began, _coverage[local].Version, bucket.Index);
        if (rose) ReportWhatIsWhole();
    }

    private bool Apply(in SegmentHeader header, int local, ISegmentBuffer values)
    {
        Bucket bucket = _state.Partition.Buckets[local];
        ShardCoverage coverage = _coverage[local];
        long version = coverage.Version;
        if (local == 0) Count(header);
        _staleness = _staleness.With(header.Step, header.Basis);
        _state.Apply(bucket, header.Step, values.Elements, header.Stats, part: new StepPart(Share(header), _updates[local] + 1));
        values.Release();
        bool rose = coverage.Add(header.Step, header.Shards);
        for (long step = version; step < coverage.Version; step++)
        {
            _state.AdvanceAverages(bucket, step);
            _wholeBuckets[Slot(step)]++;
        }

        Volatile.Write(ref _updates[local], _updates[local] + 1);
        if (rose) _cuts.Copy(bucket, coverage.Version);
        _state.Pack(bucket, coverage.Version);
        return rose;
    }

    // All buckets have the same segments, so one stands for the statistics of all.
    private void Count(in SegmentHeader header)
    {
        int slot = Slot(header.Step);
        _stats[slot] = SegmentStats.Join(_stats[slot], header.Stats);
        if (header.Step <= _reached) return;
        _reached = header.Step;
        if (_reached + Near >= _granted) _report(new StepReached(Term, _state.Partition.Index, _reached));
    }

    private double Share(in SegmentHeader header) => _state.Rule.BatchSize is { } size
        ? (double)header.Stats.Examples / size(header.Step)
        : (double)header.Shards.Length / _tree.Shards;

    private void ReportWhatIsWhole()
    {
        for (; _wholeBuckets[Slot(_applied)] == _coverage.Length; _applied++)
        {
            if (Trace is not null) Trace.Count(TraceName.ManagedBytes, GC.GetTotalAllocatedBytes());
            int slot = Slot(_applied);
            _report(new StepApplied(Term, _state.Partition.Index, _applied, _stats[slot])
            {
                Segments = _staleness.Segments,
                StalenessSum = _staleness.Sum,
                StalenessMax = _staleness.Max,
                Traffic = new(_pushed, Broadcast.SentBytes),
            });
            (_stats[slot], _wholeBuckets[slot], _staleness) = (default, 0, default);
        }
    }

    // Nothing beyond a version that is saved is granted before everybody stands there: what is copied is what it is at that moment.
    private void CopyForCheckpoints()
    {
        for (int local = 0; local < _coverage.Length; local++) _cuts.Copy(_state.Partition.Buckets[local], _coverage[local].Version);
    }

    private WeightsHeader Mark(int local, ulong incarnation, WeightsHeader header) => header with
    {
        Updates = Volatile.Read(ref _updates[local]),
        Taken = Taken(incarnation)[local].Below,
    };

    private TakenSegments[] Taken(ulong incarnation) =>
        _taken.GetOrAdd(incarnation, static (_, buckets) => [.. Enumerable.Range(0, buckets).Select(_ => new TakenSegments())], _coverage.Length);

    private int Local(in SegmentHeader header) => header.Kind == SegmentKind.Evaluation ? 0 : header.Bucket - _state.Partition.Buckets[0].Index;

    private static int Slot(long step) => (int)(step % Consistency.MostAhead);

    private bool StandsAt(long version) => Array.TrueForAll(_coverage, c => c.Version == version);

    private bool Accepts(in SegmentHeader header, out int local)
    {
        local = Local(header);
        if (header.Term != Term || (uint)local >= (uint)_coverage.Length || _tree.Find(header.Shards) < 0) return false;
        if (header.Kind == SegmentKind.Evaluation) return header.Step >= _evaluation.Version && StandsAt(header.Step);
        return header.Step >= Volatile.Read(ref _committed) && header.Step < Volatile.Read(ref _granted) + Consistency.MostAhead;
    }
}
