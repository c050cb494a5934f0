using System.Collections.Immutable;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Data;
using DistTrain.Nn;
using DistTrain.Optim;
using DistTrain.Tests;
using DistTrain.Training.Coordinator;
using DistTrain.Training.ParameterServer;
using DistTrain.Training.Tests.Coordinator;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Freely;

/// <summary>
/// Workers, servers and a step clock whose steps don't wait for each other, with every message in the test's hand: what is
/// pushed, published or granted waits until the test delivers it. Segments are read where the workers have them.
/// </summary>
internal sealed class FreeCluster : IDisposable
{
    public const int Shards = 8;
    public const int BatchSize = 24;
    public const int Examples = 60;
    private const long Term = 3;

    private static readonly Model Net = Model.Build(new([Layers.Dense(6), Layers.Tanh(), Layers.Dense(3)]), Losses.SoftmaxCrossEntropy, [5], 3, 0);

    private readonly Consistency _consistency;
    private readonly StepClock _clock;
    private readonly BucketPlan _plan = new(Net.Layout, 2, 16);
    private readonly List<PartitionState> _states = [];
    private readonly List<SegmentwiseLoop> _loops = [];
    private readonly List<Queue<Clock>> _serverClocks = [];
    private readonly List<CheckpointCut> _cuts = [];
    private readonly HashSet<(int Bucket, long Step, int Shard)> _counted = [];
    private ulong _incarnations;

    public FreeCluster(Consistency consistency, TrainingPlan plan)
    {
        _consistency = consistency;
        _clock = new StepClock(plan with { Consistency = consistency });
        var sampler = new Sampler(Examples, BatchSize, 1);
        var optimizer = new SgdSpec(LearningRate: 0.1, Momentum: 0);
        var rule = new UpdateRule(optimizer.Create(), optimizer.StateVectors, _ => 0.1) { Consistency = consistency, BatchSize = step => sampler.At(step).Size };
        foreach (Partition partition in _plan.Partitions)
        {
            var state = new PartitionState(Net.Layout, partition, rule);
            foreach (Bucket bucket in partition.Buckets)
            {
                float[] values = new float[bucket.Length];
                Net.Initialise(1, bucket.Offset, values);
                state.Initialise(bucket.Offset, values);
            }

            _states.Add(state);
            _serverClocks.Add(new());
            _loops.Add(new SegmentwiseLoop(new ShardTree(Shards), state, Term, 0, Report, _cuts.Add));
        }
    }

    public List<Member> Workers { get; } = [];

    public List<StepApplied> Applied { get; } = [];

    public List<CheckpointCut> Cuts => _cuts;

    public Staleness Staleness { get; private set; }

    public long Committed => _clock.Committed;

    public long Granted => _clock.Granted;

    public int Partitions => _loops.Count;

    /// <summary>How many workers there are to begin with, all of whom have shards; grants the first steps.</summary>
    public void Begin(int workers)
    {
        _clock.Grant();
        for (int i = 0; i < workers; i++) Join();
        DeliverClocks();
    }

    /// <summary>A worker comes; all are assigned anew.</summary>
    public void Join()
    {
        Workers.Add(new Member(this, ++_incarnations));
        Assign();
        SendClock();
    }

    /// <summary>A worker is lost, with what it pushed and nobody got.</summary>
    public void Lose(Member worker)
    {
        Assert.True(Workers.Remove(worker));
        worker.Lost = true;
        Assign();
    }

    /// <summary>Everything that was sent arrives, everywhere.</summary>
    public void DeliverAll()
    {
        bool any = true;
        while (any)
        {
            DeliverClocks();
            any = false;
            foreach (Member worker in Workers.ToList())
            {
                while (worker.DeliverSegment()) any = true;
            }
        }

        foreach (Member worker in Workers) worker.DeliverWeights();
    }

    public bool DeliverClock(int partition)
    {
        if (!_serverClocks[partition].TryDequeue(out Clock? clock)) return false;
        _loops[partition].Advance(clock);
        return true;
    }

    public float[] Weights()
    {
        float[] all = new float[Net.Layout.Length];
        foreach ((PartitionState state, Partition partition) in _states.Zip(_plan.Partitions))
        {
            foreach (Bucket bucket in partition.Buckets) state.Weights(0, bucket.Offset, bucket.Length).Span.CopyTo(all.AsSpan((int)bucket.Offset));
        }

        return all;
    }

    /// <summary>The evaluation of the committed version is done.</summary>
    public void Evaluated()
    {
        _clock.Evaluated(_clock.Committed);
        _clock.Grant();
        SendClock();
    }

    public void Settled(long version)
    {
        _clock.Settled(version);
        if (_clock.Grant()) SendClock();
    }

    public void Dispose()
    {
        foreach (Member worker in Workers) worker.Dispose();
        foreach (SegmentwiseLoop loop in _loops) loop.Dispose();
        foreach (CheckpointCut cut in _cuts) cut.Dispose();
        foreach (PartitionState state in _states) state.Dispose();
    }

    private void DeliverClocks()
    {
        for (int p = 0; p < _loops.Count; p++)
        {
            while (DeliverClock(p))
            {
            }
        }

        foreach (Member worker in Workers)
        {
            while (worker.DeliverOrder())
            {
            }
        }
    }

    private void Report(MemberMessage message)
    {
        if (message is StepReached reached)
        {
            _clock.Reached(reached.Step);
            if (_clock.Grant()) SendClock();
        }

        if (message is not StepApplied applied) return;
        Applied.Add(applied);
        Staleness = Staleness.With(new Staleness(applied.Segments, applied.StalenessSum, applied.StalenessMax));
        if (!_clock.Applied(applied.Partition, applied.Step, _loops.Count)) return;
        _clock.Grant();
        SendClock();
    }

    private void SendClock()
    {
        var clock = new Clock(Term, _clock.Committed, _clock.Granted, _clock.Checkpoints, default);
        foreach (Queue<Clock> queue in _serverClocks) queue.Enqueue(clock);
        foreach (Member worker in Workers) worker.Orders.Enqueue(clock);
    }

    private void Assign()
    {
        for (int i = 0; i < Workers.Count; i++)
        {
            ShardRange range = ShardSlice.ForWorker(Shards, Workers.Count, i);
            Workers[i].Orders.Enqueue(new Assignment(Term, [.. Enumerable.Range(range.Lo, range.Length)]));
        }
    }

    // Held to a model of its own: what is applied is nobody's yet, whole, and as it was pushed.
    private void Receive(SegmentHeader header, NativeSpan payload, float[] pushed)
    {
        SegmentwiseLoop loop = _loops[_plan.Buckets[header.Bucket].Partition];
        if (!loop.Wants(header, payload.Length)) return;
        bool isNew = Enumerable.Range(header.Shards.Lo, header.Shards.Length).All(s => !_counted.Contains((header.Bucket, header.Step, s)));
        if (isNew)
        {
            Assert.Equal(pushed, payload.Span.ToArray());
            for (int s = header.Shards.Lo; s < header.Shards.Hi; s++) _counted.Add((header.Bucket, header.Step, s));
        }

        loop.Receive(header, new Lent(payload));
    }

    internal sealed class Member : IDisposable
    {
        private readonly FreeCluster _cluster;
        private readonly ulong _incarnation;
        private readonly TrainingLoop _loop;
        private readonly FreshWeights _weights;
        private readonly List<(SegmentHeader Header, NativeSpan Payload, float[] Pushed)> _segments = [];

        public Member(FreeCluster cluster, ulong incarnation)
        {
            (_cluster, _incarnation) = (cluster, incarnation);
            WorkerSetup setup = new(Net, Data(), null, 1, BatchSize, Shards, 1) { Consistency = cluster._consistency };
            var tree = new ShardTree(Shards);
            _loop = new TrainingLoop(setup, tree);
            Steps = new FreeSteps(setup, tree, _loop, new Stall(null));
            _weights = new FreshWeights(Net.Layout, cluster._plan, Term, () => { }, _ => { }, WireFormat.Exact);
            var connection = new Connection(_segments);
            Steps.Enter(_weights, new GradientBuckets(cluster._plan, [.. cluster._loops.Select(_ => (IServerConnection)connection)], Term, incarnation));
            DeliverWeights();
        }

        public FreeSteps Steps { get; }

        public Queue<CoordinatorMessage> Orders { get; } = new();

        public int Computed { get; private set; }

        public bool Lost { get; set; }

        /// <summary>One computation; false where it has to wait.</summary>
        public bool Compute()
        {
            if (!Steps.TryCompute()) return false;
            Computed++;
            return true;
        }

        public bool DeliverOrder()
        {
            if (!Orders.TryDequeue(out CoordinatorMessage? order)) return false;
            if (order is Clock clock) Steps.Advance(clock.GrantedUntil, clock.CommittedVersion);
            if (order is Assignment assignment) Steps.Assign(assignment.Shards);
            return true;
        }

        /// <summary>One segment arrives: the oldest, or one of the oldest few.</summary>
        public bool DeliverSegment(Random? random = null)
        {
            if (_segments.Count == 0) return false;
            int at = random?.Next(Math.Min(_segments.Count, 20)) ?? 0;
            (SegmentHeader header, NativeSpan payload, float[] pushed) = _segments[at];
            _segments.RemoveAt(at);
            _cluster.Receive(header, payload, pushed);
            return true;
        }

        // A subscription begins with the newest of each bucket.
        public void DeliverWeights()
        {
            foreach ((SegmentwiseLoop loop, Partition partition) in _cluster._loops.Zip(_cluster._plan.Partitions))
            {
                using IWeightsSubscription subscription = loop.Broadcast.Subscribe(incarnation: _incarnation);
                foreach (Bucket _ in partition.Buckets)
                {
                    ValueTask<(WeightsHeader Header, NativeSpan Payload)?> next = subscription.NextAsync(CancellationToken.None);
                    Assert.True(next.IsCompletedSuccessfully);
                    (WeightsHeader header, NativeSpan payload) = next.Result!.Value;
                    Assert.True(_weights.ReadAsync(header, payload, null, CancellationToken.None).IsCompletedSuccessfully);
                }
            }
        }

        public void Dispose()
        {
            Steps.Dispose();
            _loop.Dispose();
            _weights.Dispose();
        }
    }

    private sealed class Connection(List<(SegmentHeader, NativeSpan, float[])> segments) : Worker.FakeConnection
    {
        public override void Push(in SegmentHeader header, NativeSpan payload) => segments.Add((header, payload, payload.Span.ToArray()));
    }

    private sealed class Lent(NativeSpan elements) : ISegmentBuffer
    {
        public NativeSpan Elements => elements;

        public bool Writable => false;

        public void Release()
        {
        }
    }

    private static ArrayDataset Data()
    {
        var random = new Random(5);
        return new ArrayDataset(
            Enumerable.Range(0, Examples * 5).Select(_ => (random.NextSingle() * 2) - 1).ToArray(), [5],
            Enumerable.Range(0, Examples).Select(_ => random.Next(3)).ToArray(), 3);
    }
}
