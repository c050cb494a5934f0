using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Optim;
using DistTrain.Training.ParameterServer;
using DistTrain.Training.Tests.Worker;

namespace DistTrain.Training.Tests.ParameterServer;

/// <summary>A partition with a second copy, from term to term.</summary>
public sealed class ReplicaTests : IDisposable
{
    private const int Length = 64;

    private readonly List<IDisposable> _owned = [];
    private readonly BucketPlan _plan = new(new ParameterLayout([("a", [Length], TensorRole.Parameter), ("b", [Length], TensorRole.Parameter)]), 1, Length);
    private readonly KeepingConnection _sent = new();
    private readonly Copy _first;
    private readonly Copy _second;

    public ReplicaTests()
    {
        _first = new Copy(this, new OwnPartition(1, 0, 1, Length, 0) { Replicated = true, Replica = new ServerAddress(0, new(2), "") });
        _second = new Copy(this, new OwnPartition(1, 0, 1, Length, 0) { Replicated = true, IsReplica = true });
        _first.Loop.Connected(_first.Feed!, _sent);
        Clock(0);
    }

    public void Dispose() => _owned.ForEach(o => o.Dispose());

    [Fact]
    public void SecondCopy_OfWhatTheFirstReduced_ComesToTheSameBits()
    {
        for (long step = 0; step < 5; step++)
        {
            Push(_first, 0, step, 3 + step);
            Push(_first, 1, step, 5 - step);
            Deliver();
            Clock(step + 1);
        }

        Assert.Equal([0L, 1, 2, 3, 4], _first.Reports.OfType<StepApplied>().Select(a => a.Step));
        Assert.Equal([0L, 1, 2, 3, 4], _second.Reports.OfType<StepApplied>().Select(a => a.Step));
        for (int bucket = 0; bucket < 2; bucket++) Assert.Equal(_first.Weights(5, bucket), _second.Weights(5, bucket));
        Assert.NotEqual(_first.Weights(5, 0), _first.Weights(4, 0));
    }

    [Fact]
    public void Step_BeforeTheLastIsCommitted_IsNotAppliedByTheFirstCopy()
    {
        Push(_first, 0, 0, 1);
        Push(_first, 1, 0, 1);
        Push(_first, 0, 1, 1);
        Push(_first, 1, 1, 1);
        Assert.Equal([0L], _first.Reports.OfType<StepApplied>().Select(a => a.Step));

        Clock(1);

        Assert.Equal([0L, 1], _first.Reports.OfType<StepApplied>().Select(a => a.Step));
    }

    [Fact]
    public void SecondCopy_ThatIsConnectedAgain_GetsWhatIsNotCommitted()
    {
        Push(_first, 0, 0, 1);
        Push(_first, 1, 0, 2);
        Clock(1);
        Push(_first, 0, 1, 3);
        var again = new KeepingConnection();

        _first.Loop.Connected(_first.Feed!, again);

        (SegmentHeader header, _, float[] values) = Assert.Single(again.Segments);
        Assert.Equal((1L, 0, new ShardRange(0, 2)), (header.Step, header.Bucket, header.Shards));
        Assert.Equal(6, values[0]);
    }

    [Fact]
    public void Term_ThatGoesOnWithTheSecondCopy_EndsTheStepInHandFromWhereItStands()
    {
        Push(_first, 0, 0, 1);
        Push(_first, 1, 0, 1);
        Deliver();
        Clock(1);
        // The first copy dies between two buckets of step 1.
        Push(_first, 0, 1, 7);
        Deliver();
        _second.Loop.Rest();
        HeldPartition held = _second.Loop.Held(_second.Own);
        Assert.Equal((1L, true, true), (held.Version, held.IsAhead, held.IsReplica));
        Assert.Empty(held.Applied);

        Copy next = _second.Next(new OwnPartition(2, 0, 1, Length, 1) { Keep = true });
        next.Loop.Advance(new Clock(2, 1, 10, [], default));
        // What is there already isn't taken a second time.
        Push(next, 0, 1, 7);
        Push(next, 1, 1, 4);

        StepApplied applied = Assert.Single(next.Reports.OfType<StepApplied>());
        Assert.Equal(1L, applied.Step);
        Copy undisturbed = new(this, new OwnPartition(1, 0, 1, Length, 0));
        undisturbed.Loop.Advance(new Clock(1, 0, 10, [], default));
        foreach ((int bucket, long step, float value) in ((int, long, float)[])[(0, 0, 1), (1, 0, 1), (0, 1, 7), (1, 1, 4)]) Push(undisturbed, bucket, step, value);
        for (int bucket = 0; bucket < 2; bucket++) Assert.Equal(undisturbed.Weights(2, bucket), next.Weights(2, bucket));
    }

    [Fact]
    public void Term_ThatGoesOnWithBoth_BringsTheSecondCopyWhatItLacks()
    {
        Push(_first, 0, 0, 1);
        // Nothing of it has arrived at the second copy, and then the coordinator is another one.
        _first.Loop.Rest();
        _second.Loop.Rest();
        Copy first = _first.Next(new OwnPartition(2, 0, 1, Length, 0) { Keep = true, Replicated = true, Replica = new ServerAddress(0, new(2), "") });
        Copy second = _second.Next(new OwnPartition(2, 0, 1, Length, 0) { Keep = true, Replicated = true, IsReplica = true });
        var connection = new KeepingConnection();
        first.Loop.Connected(first.Feed!, connection);
        foreach (Copy copy in (Copy[])[first, second]) copy.Loop.Advance(new Clock(2, 0, 10, [], default));
        Push(first, 1, 0, 2);

        foreach ((SegmentHeader header, _, float[] values) in connection.Segments) second.Take(header, values);

        Assert.Single(first.Reports.OfType<StepApplied>());
        Assert.Single(second.Reports.OfType<StepApplied>());
        for (int bucket = 0; bucket < 2; bucket++) Assert.Equal(first.Weights(1, bucket), second.Weights(1, bucket));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task SecondCopy_ThatIsMadeWhileStepsGoOn_CatchesUp(bool norms)
    {
        var layout = new ParameterLayout([("a", [Length], TensorRole.Parameter), ("b", [Length], TensorRole.Parameter)]);
        UpdateRule rule = Rule() with { ClipNorm = norms ? 0.5 : null };
        using var state = new PartitionState(layout, _plan.Partitions[0], rule);
        using var feed = new ReplicaFeed(2, 9, copyAt: 2);
        CheckpointCut? cut = null;
        var reports = new List<MemberMessage>();
        var replica = new ServerAddress(0, new(2), "");
        using var first = new ServerLoop(new ShardTree(2), state, new OwnPartition(1, 0, 1, Length, 0) { Replicated = true, Replica = replica, CopyAt = 2 }, null, feed, reports.Add, _ => { }, c => cut = c);
        var decided = new List<NormsDecided>();
        // Until so many steps are kept, the first copy doesn't wait for the second.
        for (long step = 0; step < 12; step++)
        {
            first.Advance(new Clock(1, step, step + 4, [], default));
            for (int bucket = 0; bucket < 2; bucket++) Push(first, bucket, step, (step * 3) + bucket);
            if (norms && reports.OfType<NormsMeasured>().LastOrDefault() is { } measured && measured.Step == step) first.Decided(Decide(step));
        }

        Assert.Equal(2 + ReplicaFeed.MostAhead, reports.OfType<StepApplied>().Count());
        using var copied = new PartitionState(layout, _plan.Partitions[0], rule);
        bool whole = false;
        var filling = new ReplicaFilling(copied, new OwnPartition(1, 0, 1, Length, 2) { IsReplica = true, Replicated = true, CopyAt = 2 }, _ => whole = true);
        for (int twice = 0; twice < 2; twice++)
        {
            await cut!.CopyAsync(
                async pieces =>
                {
                    await foreach ((CheckpointPieceHeader header, NativeSpan payload) in pieces)
                    {
                        payload.Span.CopyTo(filling.Begin(header, payload.Length).Span);
                        filling.Complete(header, payload.Length);
                    }
                },
                default);
            Assert.True(whole);
        }

        var followed = new List<MemberMessage>();
        using var second = new ServerLoop(new ShardTree(2), copied, filling.Own, null, null, followed.Add, _ => { });
        var connection = new KeepingConnection();
        first.Connected(feed, connection);
        // All at once, and once more, as after a lost connection; then what the coordinator says.
        foreach ((SegmentHeader header, _, float[] values) in connection.Segments.Concat(connection.Segments)) Take(second, header, values);
        foreach (NormsDecided norm in decided) second.Decided(norm);
        second.Advance(new Clock(1, 10, 14, [], default));
        Assert.Equal(Enumerable.Range(2, ReplicaFeed.MostAhead).Select(s => (long)s), followed.OfType<StepApplied>().Select(a => a.Step));
        for (int bucket = 0; bucket < 2; bucket++) Assert.Equal(Weights(state, 10, bucket), Weights(copied, 10, bucket));
        Assert.NotEqual(Weights(state, 9, 0), Weights(state, 10, 0));

        first.CopyCounts();
        Assert.Equal(norms ? 10 : 11, reports.OfType<StepApplied>().Count());

        NormsDecided Decide(long step)
        {
            decided.Add(new NormsDecided(1, step, [1 + step, 2 + step]));
            return decided[^1];
        }

        float[] Weights(PartitionState of, long version, int bucket) => of.Weights(version, _plan.Buckets[bucket].Offset, Length).Span.ToArray();
    }

    [Fact]
    public void Piece_OfAnotherCopy_IsRefused()
    {
        using var state = new PartitionState(new ParameterLayout([("a", [Length], TensorRole.Parameter), ("b", [Length], TensorRole.Parameter)]), _plan.Partitions[0], Rule());
        var filling = new ReplicaFilling(state, new OwnPartition(3, 0, 1, Length, 2) { IsReplica = true, CopyAt = 2 }, _ => Assert.Fail("nothing has come"));
        foreach (CheckpointPieceHeader wrong in (CheckpointPieceHeader[])[new(2, 2, 0, "weights", 0), new(3, 1, 0, "weights", 0), new(3, 2, 0, "nosuch", 0), new(3, 2, 0, "weights", 1L << 40), new(3, 2, 0, "weights", -1)])
        {
            Assert.Throws<DistTrainException>(() => filling.Begin(wrong, Length));
        }

        Assert.Throws<DistTrainException>(() => filling.Begin(new(3, 2, 0, "weights", 0), int.MaxValue));
        Assert.Throws<DistTrainException>(() => filling.Begin(new(3, 2, 0, "weights", 0), -1));
    }

    private static UpdateRule Rule()
    {
        var optimizer = new SgdSpec(LearningRate: 0.5, Momentum: 0.9);
        return new UpdateRule(optimizer.Create(), optimizer.StateVectors, _ => 0.5);
    }

    private static void Push(ServerLoop loop, int bucket, long step, float value)
    {
        for (int shard = 0; shard < 2; shard++)
        {
            float[] values = new float[Length];
            Array.Fill(values, value);
            Take(loop, new SegmentHeader(SegmentKind.Gradient, 1, 1, step, bucket, new ShardRange(shard, shard + 1), new SegmentStats(1, 2, 0, 2, 2)), values);
        }
    }

    private static void Take(ServerLoop loop, SegmentHeader header, float[] values)
    {
        if (loop.TryBegin(header, values.Length) is not { } buffer) return;
        values.CopyTo(buffer.Elements.Span);
        loop.Receive(header, buffer);
    }

    private void Clock(long committed)
    {
        foreach (Copy copy in (Copy[])[_first, _second]) copy.Loop.Advance(new Clock(1, committed, 10, [], default));
    }

    // Both shards of a bucket, each with a gradient of the value in all its elements.
    private static void Push(Copy copy, int bucket, long step, float value)
    {
        for (int shard = 0; shard < 2; shard++)
        {
            float[] values = new float[Length];
            Array.Fill(values, value);
            copy.Take(new SegmentHeader(SegmentKind.Gradient, copy.Own.Term, 1, step, bucket, new ShardRange(shard, shard + 1), new SegmentStats(1, 2, 0, 2, 2)), values);
        }
    }

    private void Deliver()
    {
        foreach ((SegmentHeader header, _, float[] values) in _sent.Segments) _second.Take(header, values);
        _sent.Segments.Clear();
    }

    private sealed class Copy
    {
        private readonly ReplicaTests _test;
        private readonly PartitionState _state;

        public Copy(ReplicaTests test, OwnPartition own, Copy? before = null)
        {
            (_test, Own) = (test, own);
            _state = before?._state ?? new PartitionState(new ParameterLayout([("a", [Length], TensorRole.Parameter), ("b", [Length], TensorRole.Parameter)]), test._plan.Partitions[0], Rule());
            Feed = own.Replica is null ? null : new ReplicaFeed(2, 9);
            Loop = new ServerLoop(new ShardTree(2), _state, own, before?.Loop, Feed, Reports.Add, _ => { });
            test._owned.Add(Loop);
            if (before is null) test._owned.Add(_state);
        }

        public OwnPartition Own { get; }

        public ReplicaFeed? Feed { get; }

        public ServerLoop Loop { get; }

        public List<MemberMessage> Reports { get; } = [];

        public Copy Next(OwnPartition own) => new(_test, own, this);

        public void Take(SegmentHeader header, float[] values)
        {
            ReplicaTests.Take(Loop, header, values);
        }

        public float[] Weights(long version, int bucket) => _state.Weights(version, _test._plan.Buckets[bucket].Offset, Length).Span.ToArray();
    }
}
