using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Data;
using DistTrain.Nn;
using DistTrain.Optim;
using DistTrain.Training.Coordinator;
using DistTrain.Training.ParameterServer;
using DistTrain.Training.Tests.Coordinator;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Assisting;

/// <summary>
/// The coordinator, workers and servers of a job whose steps wait for each other, with every message in the test's hand. A worker
/// that is asleep hears nothing, and nothing of it arrives.
/// </summary>
internal sealed class AssistCluster : IDisposable
{
    public const int Shards = 8;

    private const int BatchSize = 24;
    private const int Examples = 60;
    private const int StepsPerEpoch = 3;

    private static readonly Model Net = Model.Build(new([Layers.Dense(6), Layers.Tanh(), Layers.Dense(3)]), Losses.SoftmaxCrossEntropy, [5], 3, 0);

    private readonly Rig _rig;
    private readonly WireOptions _wire;
    private readonly int? _every;
    private readonly BucketPlan _plan = new(Net.Layout, 2, 16);
    private readonly List<Server> _servers = [];
    private readonly Dictionary<long, int> _cuts = [];
    private readonly long _steps;
    private bool _begun;

    /// <param name="workers">Workers.</param>
    /// <param name="steps">Steps of the job.</param>
    /// <param name="wire">How segments and weights travel.</param>
    /// <param name="localEvery">In local SGD, the mini-batches of a step.</param>
    /// <param name="verify">The fraction of shards that are computed twice.</param>
    public AssistCluster(int workers, long steps, WireOptions? wire = null, int? localEvery = null, double verify = 0)
    {
        (_steps, _wire, _every) = (steps, wire ?? WireOptions.Exact, localEvery);
        int stepsPerEpoch = (StepsPerEpoch + (localEvery ?? 1) - 1) / (localEvery ?? 1);
        _rig = new Rig(StepClockTests.Plan(stepsPerEpoch: stepsPerEpoch, totalSteps: steps, workers: workers, servers: 2) with
        {
            Shards = Shards,
            BucketLength = 16,
            Assists = true,
            Verify = verify,
            Seed = 5,
            Data = new DataFacts([5], 3, 1, Examples, 20),
        });
        (List<Rig.Link> servers, List<Rig.Link> links) = _rig.Start();
        for (int p = 0; p < servers.Count; p++) _servers.Add(new Server(this, servers[p], _plan.Partitions[p]));
        Workers.AddRange(links.Select((link, i) => new Member(this, link, (ulong)i + 1)));
        _begun = true;
    }

    /// <summary>The layout of the network that is trained.</summary>
    public static ParameterLayout Layout => Net.Layout;

    public List<Member> Workers { get; } = [];

    /// <summary>What was pushed: of the same node always the same.</summary>
    public Dictionary<(long Step, int Bucket, ShardRange Shards), float[]> Seen { get; init; } = [];

    public Outcome? Outcome => _rig.Outcome;

    public long Committed => _rig.Events.OfType<long>().LastOrDefault();

    public IReadOnlyList<object> Events => _rig.Events;

    /// <summary>Lets one thing happen that may, chosen at random; false when nothing can but time.</summary>
    public bool Move(Random random)
    {
        List<Func<bool>> ways = [.. _servers.Select(s => (Func<bool>)s.Hear)];
        foreach (Member worker in Workers.Where(w => !w.Asleep)) ways.AddRange([worker.Hear, worker.Handle, worker.Deliver, worker.Say, () => worker.Take(0), () => worker.Take(1)]);
        for (int left = ways.Count; left > 0; left--)
        {
            int at = random.Next(left);
            if (ways[at]()) return true;
            (ways[at], ways[left - 1]) = (ways[left - 1], ways[at]);
        }

        return false;
    }

    /// <summary>Goes on until a condition holds. Time passes when nothing else happens, and a little at each commit.</summary>
    public void Run(Random random, Func<bool> until)
    {
        long before = Committed;
        for (int idle = 0; !until();)
        {
            if (Move(random)) idle = 0;
            else Pass(100, ++idle);
            if (Committed == before) continue;
            _rig.Time.Advance(TimeSpan.FromMilliseconds(10 * (Committed - before)));
            before = Committed;
        }
    }

    public float[] Weights()
    {
        float[] all = new float[Net.Layout.Length];
        foreach (Server server in _servers) server.CopyWeights(_steps, all);
        return all;
    }

    public void Dispose()
    {
        foreach (Member worker in Workers) worker.Dispose();
        foreach (Server server in _servers) server.Dispose();
    }

    private void Pass(int milliseconds, int idle)
    {
        Assert.True(idle < 200, $"nothing happens any more at step {Committed}: {string.Join("; ", Workers)}");
        // What a pool thread was told to go on with may take a moment.
        foreach (Member worker in Workers.Where(w => !w.Asleep)) worker.Settle();
        _rig.Time.Advance(TimeSpan.FromMilliseconds(milliseconds));
        _rig.Tell(new Tick());
        if (Outcome is null && _servers.TrueForAll(s => s.Stopped)) _rig.Tell(new Tick());
    }

    private void Saved(CheckpointCut cut)
    {
        long version = cut.Version;
        cut.Dispose();
        _cuts[version] = _cuts.GetValueOrDefault(version) + 1;
        if (_cuts[version] == _servers.Count) _rig.Tell(new CheckpointWritten(version, null));
    }

    private sealed class Server : IDisposable
    {
        private readonly AssistCluster _cluster;
        private readonly Rig.Link _link;
        private readonly PartitionState _state;
        private readonly List<CheckpointCut> _saved = [];
        private int _heard;

        public Server(AssistCluster cluster, Rig.Link link, Partition partition)
        {
            (_cluster, _link) = (cluster, link);
            // In local SGD what the shards moved by: its whole mean.
            UpdateRule rule = cluster._every is null ? MiniBatchRule() : Rule(new SgdSpec(LearningRate: 1, Momentum: 0));
            _state = new PartitionState(Net.Layout, partition, rule with { Wire = cluster._wire });
            foreach (Bucket bucket in partition.Buckets)
            {
                float[] values = new float[bucket.Length];
                Net.Initialise(1, bucket.Offset, values);
                _state.Initialise(bucket.Offset, values);
            }

            Loop = new ServerLoop(new ShardTree(Shards), _state, cluster._rig.Term, 0, message => cluster._rig.Say(link, message), _saved.Add);
        }

        public ServerLoop Loop { get; }

        public bool Stopped { get; private set; }

        public bool Hear()
        {
            if (!_cluster._begun || _heard == _link.Sent.Count) return false;
            switch (_link.Sent[_heard++])
            {
                case Clock clock:
                    Loop.Advance(clock);
                    break;
                case MissingAsked asked:
                    _cluster._rig.Say(_link, new ShardsMissing(asked.Term, _state.Partition.Index, asked.Step, asked.Evaluation, Loop.Missing(asked.Step, asked.Evaluation)));
                    break;
                case Stop:
                    Stopped = true;
                    _cluster._rig.Close(_link, "stopped");
                    break;
            }

            Save();
            return true;
        }

        public void Receive(SegmentHeader header, NativeSpan payload, float[] pushed)
        {
            if (header.Kind == SegmentKind.Evaluation) Loop.Receive(header, null);
            else if (Loop.Wants(header, payload.Length))
            {
                // Lent memory stands until its step is committed.
                Assert.Equal(pushed, payload.Span.ToArray());
                if (!_cluster.Seen.TryAdd((header.Step, header.Bucket, header.Shards), pushed)) Assert.True(_cluster.Seen[(header.Step, header.Bucket, header.Shards)].AsSpan().SequenceEqual(pushed), $"other bits: {header} of {string.Join(", ", _cluster.Workers)}");
                Loop.Receive(header, new Lent(payload));
            }

            Save();
        }

        public void CopyWeights(long version, float[] to)
        {
            foreach (Bucket bucket in _state.Partition.Buckets) _state.Weights(version, bucket.Offset, bucket.Length).Span.CopyTo(to.AsSpan((int)bucket.Offset));
        }

        public void Dispose()
        {
            Loop.Dispose();
            _state.Dispose();
        }

        private void Save()
        {
            foreach (CheckpointCut cut in _saved.ToList()) _cluster.Saved(cut);
            _saved.Clear();
        }
    }

    /// <summary>A worker, what has been sent to it and what it has sent.</summary>
    internal sealed class Member : IDisposable, IActorContext, IActorRef, IChannel
    {
        private readonly CancellationTokenSource _ending = new();
        private readonly AssistCluster _cluster;
        private readonly Rig.Link _link;
        private readonly Training.Worker.Worker _worker;
        private readonly Queue<object> _mailbox = new();
        private readonly Queue<(int Partition, SegmentHeader Header, NativeSpan Payload, float[] Pushed)> _segments = new();
        private readonly IWeightsSubscription?[] _subscriptions = new IWeightsSubscription?[2];
        private readonly Task<(WeightsHeader Header, NativeSpan Payload)?>?[] _next = new Task<(WeightsHeader, NativeSpan)?>?[2];
        private readonly Task[] _reading = [Task.CompletedTask, Task.CompletedTask];
        private readonly Queue<MemberMessage> _reports = new();
        private IWeightsSink? _sink;
        private int _heard;

        public Member(AssistCluster cluster, Rig.Link link, ulong incarnation)
        {
            (_cluster, _link) = (cluster, link);
            WorkerSetup setup = new(Net, Data(Examples), Data(20), 1, BatchSize, Shards, 1)
            {
                Wire = cluster._wire,
                Local = cluster._every is { } every ? new LocalRule(every, MiniBatchRule()) : null,
            };
            _worker = new Training.Worker.Worker(setup, this, incarnation, TimeSpan.Zero, Report, _ => { });
        }

        public bool Asleep { get; set; }

        private void Report(MemberMessage message) => _reports.Enqueue(message);

        /// <summary>What it told the coordinator arrives.</summary>
        public bool Say()
        {
            if (!_reports.TryDequeue(out MemberMessage? message)) return false;
            _cluster._rig.Say(_link, message);
            return true;
        }

        /// <summary>Shards of gradients that it pushed, for one bucket.</summary>
        public int Pushed { get; private set; }

        public string Path => "worker";

        public string Name => "test";

        public IActorRef Self => this;

        public IActorRef? Sender => null;

        public CancellationToken Stopping => default;

        public bool Hear()
        {
            if (_heard == _link.Sent.Count) return false;
            CoordinatorMessage message = _link.Sent[_heard++];
            if (message is Stop) _cluster._rig.Close(_link, "stopped");
            else Tell(message);
            return true;
        }

        public bool Handle()
        {
            object? message;
            lock (_mailbox)
            {
                if (!_mailbox.TryDequeue(out message)) return false;
            }

            Assert.True(_worker.ReceiveAsync(message, this).IsCompletedSuccessfully);
            return true;
        }

        /// <summary>One segment arrives.</summary>
        public bool Deliver()
        {
            if (!_segments.TryDequeue(out (int Partition, SegmentHeader Header, NativeSpan Payload, float[] Pushed) segment)) return false;
            _cluster._servers[segment.Partition].Receive(segment.Header, segment.Payload, segment.Pushed);
            return true;
        }

        /// <summary>A bucket's weights arrive from a server.</summary>
        public bool Take(int partition)
        {
            if (_subscriptions[partition] is not { } subscription || !_reading[partition].IsCompleted) return false;
            Task<(WeightsHeader Header, NativeSpan Payload)?> next = _next[partition] ??= subscription.NextAsync(CancellationToken.None).AsTask();
            if (!next.IsCompleted) return false;
            _next[partition] = null;
            (WeightsHeader header, NativeSpan payload) = next.Result!.Value;
            // What has to wait goes on from a pool thread: the tests' own are few, and busy.
            SynchronizationContext? context = SynchronizationContext.Current;
            SynchronizationContext.SetSynchronizationContext(null);
            _reading[partition] = _sink!.ReadAsync(header, payload, null, _ending.Token).AsTask();
            SynchronizationContext.SetSynchronizationContext(context);
            return true;
        }

        public void Settle() => SpinWait.SpinUntil(() => Array.TrueForAll(_reading, r => r.IsCompleted), 1000);

        public void Tell(object message, IActorRef? sender = null)
        {
            lock (_mailbox) _mailbox.Enqueue(message);
        }

        public ValueTask TellAsync(object message, IActorRef? sender = null, CancellationToken cancellation = default)
        {
            Tell(message);
            return ValueTask.CompletedTask;
        }

        public Task<T> AskAsync<T>(object message, TimeSpan deadline, CancellationToken cancellation = default) => throw new InvalidOperationException();

        public Task<IServerConnection> ConnectAsync(ServerAddress server, long term, ulong incarnation, IWeightsSink sink, CancellationToken cancellation)
        {
            _sink = sink;
            _subscriptions[server.Partition] = _cluster._servers[server.Partition].Loop.Broadcast.Subscribe(inline: true, incarnation);
            return Task.FromResult<IServerConnection>(new Connection(this, server.Partition));
        }

        public override string ToString() => $"worker {_link.Member} {(Asleep ? "asleep" : "awake")}, {_mailbox.Count} messages, {_segments.Count} segments, reads {string.Join(" ", _reading.Select(r => r.Status))}";

        public void Dispose()
        {
            // Nobody writes to memory that is about to be freed.
            _ending.Cancel();
            Assert.True(Task.WhenAll(_reading).ContinueWith(_ => { }, TaskScheduler.Default).Wait(TimeSpan.FromSeconds(30)));
            _ending.Dispose();
            Assert.True(_worker.DisposeAsync().AsTask().Wait(TimeSpan.FromSeconds(30)));
        }

        private sealed class Connection(Member member, int partition) : Worker.FakeConnection
        {
            public override void Push(in SegmentHeader header, NativeSpan payload)
            {
                if (header.Bucket == 0) member.Pushed += header.Shards.Length;
                member._segments.Enqueue((partition, header, payload, payload.Span.ToArray()));
            }
        }
    }

    private sealed class Lent(NativeSpan elements) : ISegmentBuffer
    {
        public NativeSpan Elements => elements;

        public bool Writable => false;

        public void Release()
        {
        }
    }

    private static UpdateRule MiniBatchRule() => Rule(new SgdSpec(LearningRate: 0.1, Momentum: 0.9));

    private static UpdateRule Rule(OptimizerSpec optimizer) => new(optimizer.Create(), optimizer.StateVectors, _ => optimizer.LearningRate);

    private static ArrayDataset Data(int examples)
    {
        var random = new Random(examples);
        return new ArrayDataset(
            Enumerable.Range(0, examples * 5).Select(_ => (random.NextSingle() * 2) - 1).ToArray(), [5],
            Enumerable.Range(0, examples).Select(_ => random.Next(3)).ToArray(), 3);
    }
}
