using System.Collections.Immutable;
using System.Runtime.ExceptionServices;
using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;
using DistTrain.Kernels;
using DistTrain.Nn;

namespace DistTrain.Training.Worker;

/// <summary>A version of the weights has arrived whole, under a term.</summary>
internal sealed record WeightsComplete(long Term, long Version);

/// <summary>Weights that the worker waits for have arrived.</summary>
internal sealed record WeightsArrived(long Term);

/// <summary>The worker has more to do, behind what lies in its mailbox.</summary>
internal sealed record GoOn(long Term);

/// <summary>The averages of a version's weights have arrived whole, under a term.</summary>
internal sealed record AveragesComplete(long Term, long Version);

/// <summary>The connection to a partition's server was lost.</summary>
internal sealed record ServerLost(long Term, int Partition, IServerConnection Connection, string Cause);

/// <summary>A partition's server is connected.</summary>
internal sealed record ServerConnected(long Term, int Partition, IServerConnection Connection);

/// <summary>Connecting broke in a way that no further attempt mends.</summary>
internal sealed record ConnectingFailed(long Term, Exception Cause);

/// <summary>
/// The actor that computes shards. It takes a step when the step is granted, the step before the last is committed (so its
/// buffers are free), and it has shards that it hasn't pushed yet. It begins as soon as the first layer's weights of that
/// version are there; where a layer's are missing it goes back to its mailbox until they come.
/// </summary>
public sealed class Worker : IActor, IAsyncDisposable
{
    // How long word of a step that is over may take on its way through shared memory.
    private static readonly TimeSpan TornPatience = TimeSpan.FromSeconds(1);

    private readonly WorkerSetup _setup;
    private readonly IChannel _channel;
    private readonly ulong _incarnation;
    private readonly TimeSpan _patience;
    private readonly Action<MemberMessage> _report;
    private readonly HashSet<int> _unreachable = [];
    private readonly Action<string> _log;
    private readonly ShardTree _tree;
    private readonly TrainingLoop _loop;
    private readonly List<GradientRound> _rounds = [];
    private readonly GradientVectors _vectors;
    private readonly HeldBack? _heldBack;
    private readonly List<SegmentHeader> _evaluated = [];
    private readonly Gate _gate = new();
    private readonly FreeSteps? _free;
    private readonly Stall _stall;
    private HashSet<int> _done = [];
    private HashSet<int> _before = [];
    private List<ShardRows>? _groups;
    private GradientRound? _round;
    private int _group;
    private long _step = -1;
    private readonly Dictionary<(int Size, bool Halves), List<ShardRows>> _rows = [];
    private WorkerTerm? _term;
    private ImmutableArray<int> _shards = [];
    private Evaluate? _evaluation;
    private long _version = -1;
    private long _averaged = -1;
    private ImmutableArray<long> _saved = [];
    private long _granted;
    private long _committed;
    private int _thread;
    private bool _goingOn;
    private Assist? _assist;
    private readonly VerifiedShards _verified = new();
    private readonly Dictionary<int, List<ShardRows>> _assistRows = [];

    /// <summary>Creates a worker that has nothing to do yet.</summary>
    /// <param name="setup">What it knows of the job.</param>
    /// <param name="channel">Where servers are reached.</param>
    /// <param name="incarnation">Random for this life of it.</param>
    /// <param name="patience">After so long without a connection to a server it tells the coordinator.</param>
    /// <param name="report">Takes what the coordinator has to know.</param>
    /// <param name="log">Takes lines for a person.</param>
    public Worker(WorkerSetup setup, IChannel channel, ulong incarnation, TimeSpan patience, Action<MemberMessage> report, Action<string> log)
    {
        (_setup, _channel, _incarnation, _patience, _report, _log) = (setup, channel, incarnation, patience, report, log);
        _tree = new ShardTree(setup.Shards);
        _vectors = new GradientVectors(setup.Model.Layout.Length);
        if (setup.Wire.Gradients.HoldsBack) _heldBack = new HeldBack(setup.Model.Layout.Length);
        _loop = new TrainingLoop(setup, _tree);
        _stall = new Stall(setup.Trace);
        if (!setup.Consistency.IsSync) _free = new FreeSteps(setup, _tree, _loop, _stall);
    }

    /// <inheritdoc/>
    public async ValueTask ReceiveAsync(object message, IActorContext context)
    {
        SettleOnThread();
        switch (message)
        {
            case Topology topology when _term is null || topology.Term > _term.Number:
                await EnterAsync(topology, context);
                break;
            case Assignment assignment when IsCurrent(assignment.Term) && _free is not null:
                Orders.RequireShards(assignment.Shards, _setup.Shards);
                _free.Assign(assignment.Shards);
                break;
            case Assignment assignment when IsCurrent(assignment.Term):
                Orders.RequireShards(assignment.Shards, _setup.Shards);
                (_shards, _assist) = (assignment.Shards, null);
                _verified.Clear();
                _heldBack?.Assign(_shards, _setup.Shards);
                _rows.Clear();
                Reconsider();
                break;
            case Assist assist when IsCurrent(assist.Term) && _free is null:
                Orders.RequireShards(assist.Shards, _setup.Shards);
                TakeOrder(_term!, assist);
                break;
            case Verify verify when IsCurrent(verify.Term) && _free is null:
                Orders.RequireShards(verify.Apart, _setup.Shards);
                Orders.RequireShards(verify.Again, _setup.Shards);
                Orders.RequireStep(verify.Step);
                _verified.Take(verify);
                break;
            case Clock clock when IsCurrent(clock.Term):
                Orders.RequireSteps(clock);
                _granted = Math.Max(_granted, clock.GrantedUntil);
                _committed = Math.Max(_committed, clock.CommittedVersion);
                _free?.Advance(_granted, _committed);
                _saved = clock.Checkpoints;
                break;
            case WeightsComplete weights when IsCurrent(weights.Term) && weights.Version > _version:
                _version = weights.Version;
                // Every bucket of every partition has come to this version: the steps below it are committed, where there are no second copies.
                if (!_term!.Replicated) _committed = Math.Max(_committed, _version);
                if (_version > _step) StandAt(_version);
                break;
            case Explain explain:
                context.Sender?.Tell(new Explained(explain.Round, Doing()));
                return;
            case WeightsArrived arrived when IsCurrent(arrived.Term):
                break;
            case GoOn goOn when IsCurrent(goOn.Term):
                _goingOn = false;
                break;
            case AveragesComplete averages when IsCurrent(averages.Term):
                _averaged = Math.Max(_averaged, averages.Version);
                break;
            case Evaluate evaluate when IsCurrent(evaluate.Term):
                Orders.RequireShards(evaluate.Shards, _setup.Shards);
                Orders.RequireStep(evaluate.Version);
                _evaluation = evaluate;
                break;
            case ServerConnected connected when IsCurrent(connected.Term):
                Resend(_term!, connected);
                break;
            case ServerLost lost when IsCurrent(lost.Term) && _term!.Connections[lost.Partition] == lost.Connection:
                _log($"lost the connection to server {_term.Servers[lost.Partition].Member} ({_term.Servers[lost.Partition].Endpoint}): {lost.Cause}; connecting again");
                _term.Connect(lost.Partition, _patience);
                break;
            case ServerUnreachable unreachable when IsCurrent(unreachable.Term):
                _unreachable.Add(unreachable.Partition);
                _report(unreachable);
                return;
            case ConnectingFailed failed when IsCurrent(failed.Term):
                ExceptionDispatchInfo.Throw(failed.Cause);
                break;
            default:
                return;
        }

        if (_term is not null)
        {
            EvaluateIfAsked(_term);
            // One computation at a time, so that the mailbox is heard between them.
            if (_free is null)
            {
                StepIfPossible(_term);
                if (_stall.IsTraced) Wait();
            }
            else if (!_goingOn && _free.TryCompute())
            {
                _goingOn = true;
                _term.GoOn();
            }
        }
    }

    // What it waits for, in words.
    private string Doing()
    {
        if (_term is not { } term) return "waits to hear which servers there are";
        if (_shards.IsEmpty && _evaluation is null) return "has no shards";
        int[] apart = [.. Enumerable.Range(0, term.Servers.Length).Where(p => !term.IsConnected(p))];
        if (apart.Length > 0) return $"connects to {string.Join(", ", apart.Select(p => $"server {term.Servers[p].Member} at {term.Servers[p].Endpoint}"))}";
        if (_free is not null) return $"is free to compute steps {_committed} to {_granted - 1}";
        if (_evaluation is { } evaluation) return $"evaluates step {evaluation.Version}, or waits for its weights";
        long step = Math.Max(IsDone ? _step + 1 : _step, 0);
        if (!Allowed(step)) return $"has done its part of step {step - 1} and waits for the coordinator to let it begin step {step}";
        Bucket[] missing = [.. term.Plan.Buckets.Where(b => !term.Weights.Has(step, b))];
        if (missing.Length == 0) return $"computes step {step}";
        IEnumerable<string> where = missing.GroupBy(b => b.Partition)
            .Select(g => $"bucket{(g.Count() == 1 ? "" : "s")} {string.Join(", ", g.Take(8).Select(b => b.Index))}{(g.Count() > 8 ? $" and {g.Count() - 8} more" : "")} of server {term.Servers[g.Key].Member}");
        return $"has done its part of step {step - 1} and waits for the weights of step {step}: {string.Join("; ", where)}";
    }

    /// <summary>Closes the connections to the servers. Only when the actor has stopped.</summary>
    public async Task DisconnectAsync()
    {
        if (_term is not null) await _term.DisposeAsync();
    }

    /// <summary>
    /// Disconnects, and frees the buffers. Only when the actor has stopped; a server of the same process, which was lent
    /// gradients, has to have stopped too.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        await DisconnectAsync();
        _loop.Dispose();
        foreach (GradientRound round in _rounds) round.Dispose();
        _vectors.Dispose();
        _free?.Dispose();
        _term?.Free();
        _heldBack?.Dispose();
    }

    // The pool's other threads pin themselves; thread 0 of its regions is the one that the actor runs on.
    private void SettleOnThread()
    {
        if (_thread == Environment.CurrentManagedThreadId) return;
        _thread = Environment.CurrentManagedThreadId;
        ComputeThread.TryYieldWhenWoken();
        if (_setup.Cores is { } cores) CoreSet.PinCurrentThread(cores[0]);
    }

    private bool IsCurrent(long term) => _term?.Number == term;

    private async Task EnterAsync(Topology topology, IActorContext context)
    {
        if (_term is not null) await _term.DisposeAsync();
        (_version, _averaged, _granted, _committed, _evaluation) = (-1, -1, 0, 0, null);
        StandAt(-1);
        foreach (GradientRound round in _rounds) round.Abandon();
        (_shards, _saved, _assist) = ([], [], null);
        _verified.Clear();
        _heldBack?.Clear();
        _evaluated.Clear();
        _unreachable.Clear();
        _term = new WorkerTerm(_setup, topology, _channel, _incarnation, context.Self, _log);
        _goingOn = false;
        _free?.Enter(_term.Fresh!, _term.Buckets);
        for (int p = 0; p < topology.Servers.Length; p++) _term.Connect(p, _patience);
    }

    private void Resend(WorkerTerm term, ServerConnected connected)
    {
        term.Take(connected);
        if (_unreachable.Remove(connected.Partition)) _report(new ServerReached(term.Number, connected.Partition));
        // What was pushed of a pass that isn't done is nowhere noted: it is begun anew.
        if (_round is not null) Abandon();
        foreach (GradientRound round in _rounds.Where(r => r.Step >= _committed && r.Complete)) term.Buckets.Resend(round, connected.Partition);
        _free?.Resend(connected.Partition);
        if (connected.Partition == 0) PushEvaluation(term);
    }

    // The worker is at the newest version that is there whole, or, when it has nothing left to do there, one further.
    private unsafe void StepIfPossible(WorkerTerm term)
    {
        while (_version >= 0 && _step >= 0)
        {
            if (_groups is null && _verified.IsAsked && _verified.Step <= _version) ComputeAgain(term);
            if (term.Weights.IsOver(_step))
            {
                Abandon();
                return;
            }

            if (IsDone && !BeginAssist(term))
            {
                if (_step > _version || !Allowed(_step + 1) || !term.Weights.Has(_step + 1, 0, term.FirstTensor)) return;
                (_before, _done) = (_done, _before);
                _done.Clear();
                _step++;
            }

            if (!Allowed(_step) || !TryCompute(term)) return;
        }
    }

    private void Wait()
    {
        long next = IsDone ? _step + 1 : _step;
        _stall.Begin(Allowed(next) ? TraceName.WaitForWeights : TraceName.WaitForGrant, next);
    }

    // Nothing is left to compute of the step in hand.
    private bool IsDone
    {
        get
        {
            if (_groups is not null) return false;
            foreach (int shard in _shards)
            {
                if (!_done.Contains(shard)) return false;
            }

            return true;
        }
    }

    private bool Allowed(long step) => step < _granted && _committed >= step - 1;

    // Each group of rows in turn; false while weights are missing.
    private unsafe bool TryCompute(WorkerTerm term)
    {
        if (_groups is null)
        {
            term.Weights.Use(_step);
            (_groups, _group) = (RowsFor(_step), 0);
        }

        for (; _group < _groups.Count; _group++)
        {
            ShardRows rows = _groups[_group];
            _stall.End();
            if (_round is null)
            {
                _round = FreeRound();
                Count();
                _setup.Faults?.Commit(_step, rows.Shards);
                _round.Begin(_step, rows, whole: LeadsToSaved(_step));
                _loop.Begin(rows, _round);
            }

            (_gate.Store, _gate.Version) = (term.Weights, _step);
            if (!TryStep(term, _step, rows, _round, term.Buckets)) return false;
            foreach (int shard in rows.Shards) _done.Add(shard);
            if (rows.Shards is [var only] && _verified.Takes(_step, only)) Tell(term, only, _round);
            _round = null;
        }

        _groups = null;
        term.Weights.Use(null);
        return true;
    }

    private unsafe bool TryStep(WorkerTerm term, long step, ShardRows rows, GradientRound round, GradientBuckets buckets)
    {
        try
        {
            return _loop.TryStep(term.Weights.At(step), rows, round, buckets, _version >= step ? null : _gate);
        }
        catch (DistTrainException e) when (e.ExitCode == ExitCode.Diverged && term.Weights.IsPassed(step, TornPatience))
        {
            // Not the job's losses, but those of weights that were torn: the step is over.
            Abandon();
            return false;
        }
    }

    // Others' shards, to see whether they come to the same bits: what counts is what their own workers push.
    private void ComputeAgain(WorkerTerm term)
    {
        long step = _verified.Step;
        term.Weights.Use(step);
        while (_verified.TryNext(out int shard))
        {
            _stall.End();
            GradientRound round = FreeRound();
            ShardRows rows = ShardRows.OneByOne(_tree, [shard], _loop.BatchSize(step), _setup.Wire.Gradients.RoundsNodes)[0];
            round.Begin(step, rows);
            _loop.Begin(rows, round);
            bool whole = !term.Weights.IsOver(step) && TryStep(term, step, rows, round, term.Unsent);
            Tell(term, shard, whole ? round : null);
            round.Abandon();
        }

        term.Weights.Use(null);
    }

    private void Tell(WorkerTerm term, int shard, GradientRound? round) =>
        _report(new ShardComputed(term.Number, _verified.Step, shard, round is null ? [] : [.. term.Plan.Buckets.Select(b => PayloadDigest.Of(round.Payload(0, b).Span))]));

    // A worker that is ahead, at the first layers of the next step, goes back: that step can't be done before this one is.
    private void TakeOrder(WorkerTerm term, Assist assist)
    {
        _assist = assist;
        _assistRows.Clear();
        if (_step != _version + 1 || _version < assist.Step || _version >= assist.Until || term.Weights.Has(_step, 0, _setup.Model.Layout.Length)) return;
        Reconsider();
    }

    // Shards of others, once the worker's own are done and the step still isn't.
    private bool BeginAssist(WorkerTerm term)
    {
        if (_assist is not { } assist || _step < assist.Step || _step >= assist.Until || _committed > _step || !Allowed(_step)) return false;
        bool wanted = false;
        foreach (int shard in assist.Shards) wanted |= !_done.Contains(shard);
        if (!wanted || term.Weights.Has(_step + 1, 0, _setup.Model.Layout.Length)) return false;
        term.Weights.Use(_step);
        (_groups, _group) = (AssistRowsFor(assist), 0);
        return true;
    }

    private List<ShardRows> AssistRowsFor(Assist assist)
    {
        int size = _loop.BatchSize(_step);
        if (_setup.Watches(_step) || assist.Shards.Any(_done.Contains)) return Rows([.. assist.Shards.Where(s => !_done.Contains(s))], _setup.Watches(_step));
        if (!_assistRows.TryGetValue(size, out List<ShardRows>? rows)) _assistRows[size] = rows = Rows(assist.Shards, halves: false);
        return rows;

        List<ShardRows> Rows(IReadOnlyList<int> shards, bool halves) =>
            ShardRows.Extra(_tree, shards, size, MostRowsOfAGroup, halves, _setup.Wire.Gradients.RoundsNodes);
    }

    private void Count()
    {
        if (_setup.Trace is not { } trace) return;
        int held = 0;
        foreach (GradientRound round in _rounds) held += round.Step >= _committed ? 1 : 0;
        trace.Count(TraceName.StepsHeld, held);
        trace.Count(TraceName.ManagedBytes, GC.GetTotalAllocatedBytes());
    }

    // Checkpoints are foretold with the grant of their step, but those that are ordered after an evaluation.
    private bool LeadsToSaved(long step) => _saved.Contains(step + 1) || _setup.IsJudged?.Invoke(step + 1) == true;

    // Nothing is begun, or gone on with.
    private void StandAt(long step)
    {
        Abandon();
        _step = step;
        _done.Clear();
        _before.Clear();
    }

    // After a reassignment, what was begun is begun anew; a step ahead of the weights may have to wait for more shards of the one before.
    private void Reconsider()
    {
        Abandon();
        if (_step <= _version || _version < 0) return;
        _step--;
        (_before, _done) = (_done, _before);
        _before.Clear();
    }

    private void Abandon()
    {
        _round?.Abandon();
        (_round, _groups) = (null, null);
        if (_free is null) _term?.Weights.Use(null);
    }

    // In local SGD each shard is computed by itself.
    private int MostRowsOfAGroup => _setup.Local is null ? _loop.MaxRows : 0;

    // The plan for the whole assignment is kept for each mini-batch size; what is left of one after a reassignment isn't.
    private List<ShardRows> RowsFor(long step)
    {
        int size = _loop.BatchSize(step);
        bool halves = _setup.Watches(step);
        if (_verified.Apart(step) is { IsEmpty: false } apart) return ShardRows.Apart(_tree, apart, [.. _shards.Where(s => !_done.Contains(s))], size, MostRowsOfAGroup, halves, _setup.Wire.Gradients.RoundsNodes);
        if (_done.Count > 0) return ShardRows.Groups(_tree, [.. _shards.Where(s => !_done.Contains(s))], size, MostRowsOfAGroup, halves, _setup.Wire.Gradients.RoundsNodes);
        if (!_rows.TryGetValue((size, halves), out List<ShardRows>? rows)) _rows[(size, halves)] = rows = ShardRows.Groups(_tree, _shards, size, MostRowsOfAGroup, halves, _setup.Wire.Gradients.RoundsNodes);
        return rows;
    }

    private GradientRound FreeRound()
    {
        foreach (GradientRound round in _rounds)
        {
            if (round.Step < _committed) return round;
        }

        _rounds.Add(new GradientRound(_setup.Model.Layout.Length, _setup.Wire.Gradients, _vectors, _setup.SharesMemory, _heldBack));
        return _rounds[^1];
    }

    private unsafe void EvaluateIfAsked(WorkerTerm term)
    {
        if (_free is not null) RefreshFor(_evaluation, term.Fresh!);
        if (_evaluation is not { } evaluation || evaluation.Version != (_setup.Averages ? _averaged : _version)) return;
        _evaluation = null;
        // A pass that waits for weights is begun anew: one arena holds the values of both. It was ordered before this one ended where the worker lags.
        if (_round is not null) Abandon();
        var stats = new Dictionary<int, SegmentStats>();
        _stall.End();
        long began = _setup.Trace.Begin();
        if (_free is null) term.Weights.Use(evaluation.Version);
        float* weights = term.Fresh is { } fresh ? _setup.Averages ? fresh.Averages : fresh.Pointer : _setup.Averages ? term.Weights.Averages : term.Weights.At(evaluation.Version);
        foreach (int shard in evaluation.Shards) stats[shard] = _loop.Evaluate(weights, shard);
        if (_free is null) term.Weights.Use(_groups is null ? null : _step);
        _evaluated.Clear();
        foreach (ShardRange node in _tree.TopNodes(evaluation.Shards))
        {
            _evaluated.Add(new SegmentHeader(SegmentKind.Evaluation, term.Number, _incarnation, evaluation.Version, -1, node, Join(node, stats)));
        }

        PushEvaluation(term);
        _setup.Trace.End(TraceName.Evaluate, began, evaluation.Version);
    }

    // Nothing beyond a version that is evaluated is granted: once the weights hold it whole, they are it.
    private void RefreshFor(Evaluate? evaluation, FreshWeights weights)
    {
        if (evaluation is null) return;
        weights.Await();
        weights.Refresh();
        _version = weights.Version;
    }

    // Sums of an evaluation are kept until the next one, to be sent again after a reconnection.
    private void PushEvaluation(WorkerTerm term)
    {
        foreach (SegmentHeader header in _evaluated) term.Connections[0].Push(header, default);
    }

    private static SegmentStats Join(ShardRange node, Dictionary<int, SegmentStats> leaves)
    {
        if (node.Length == 1) return leaves[node.Lo];
        int split = ShardTree.SplitPoint(node);
        return SegmentStats.Join(Join(node with { Hi = split }, leaves), Join(node with { Lo = split }, leaves));
    }

    /// <summary>What is there of the weights of the step in hand.</summary>
    private sealed class Gate : IWeightsGate
    {
        public WeightsStore? Store { get; set; }

        public long Version { get; set; }

        public bool Has(long start, long end) => Store!.Has(Version, start, end);
    }
}
