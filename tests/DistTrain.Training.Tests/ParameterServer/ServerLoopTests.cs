using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Optim;
using DistTrain.Training.ParameterServer;

namespace DistTrain.Training.Tests.ParameterServer;

public sealed class ServerLoopTests : IDisposable
{
    private const long Term = 7;

    private readonly List<MemberMessage> _reports = [];
    private readonly List<CheckpointCut> _cuts = [];
    private readonly BucketPlan _plan;
    private readonly PartitionState _state;
    private readonly ServerLoop _loop;

    public ServerLoopTests()
    {
        var layout = new ParameterLayout([("a", [64], TensorRole.Parameter), ("b", [32], TensorRole.Parameter)]);
        _plan = new BucketPlan(layout, 1, 64);
        Assert.Equal(2, _plan.Buckets.Length);
        var optimizer = new SgdSpec(LearningRate: 0.5, Momentum: 0);
        _state = new PartitionState(layout, _plan.Partitions[0], new UpdateRule(optimizer.Create(), optimizer.StateVectors, _ => 0.5));
        _loop = new ServerLoop(new ShardTree(2), _state, Term, 0, _reports.Add, _cuts.Add);
    }

    public void Dispose()
    {
        foreach (CheckpointCut cut in _cuts) cut.Dispose();
        _loop.Dispose();
        _state.Dispose();
    }

    private static SegmentHeader Header(int bucket, int lo, int hi, long step = 0, long term = Term) =>
        new(SegmentKind.Gradient, term, 1, step, bucket, new ShardRange(lo, hi), new SegmentStats(1, 2 * (hi - lo), 0, 2 * (hi - lo), 2 * (hi - lo)));

    private void Push(SegmentHeader header, float value)
    {
        ISegmentBuffer? buffer = _loop.TryBegin(header, _plan.Buckets[header.Bucket].Length);
        if (buffer is null) return;
        buffer.Elements.Span.Fill(value);
        _loop.Receive(header, buffer);
    }

    private static Clock Grant(long until, params long[] checkpoints) => new(Term, 0, until, [.. checkpoints], default);

    private float Weight(long version, int bucket) => _state.Weights(version, _plan.Buckets[bucket].Offset, 1).Span[0];

    [Fact]
    public void Segments_OfAWholeBucket_UpdateItByTheMeanOnce()
    {
        _loop.Advance(Grant(5));
        Push(Header(0, 0, 1), 4);
        Push(Header(0, 1, 2), 8);
        // (4 + 8) / 4 examples, times the rate of 0.5.
        Assert.Equal(-1.5f, Weight(1, 0));
        Assert.Equal(0f, Weight(0, 0));
        Push(Header(0, 1, 2), 8);
        Assert.Equal(-1.5f, Weight(1, 0));
        Assert.Empty(_reports);
        Push(Header(1, 0, 2), 4);
        StepApplied applied = Assert.IsType<StepApplied>(Assert.Single(_reports));
        Assert.Equal((0, 4L), (applied.Step, applied.Stats.Examples));
    }

    [Theory]
    [InlineData(0, 0, 1, 1, Term, 64)] // a step to come
    [InlineData(0, 0, 1, -1, Term, 64)] // a step before
    [InlineData(0, 0, 1, 0, Term - 1, 64)] // a lower term
    [InlineData(0, 0, 1, 0, Term + 1, 64)] // a term that this server has not accepted
    [InlineData(9, 0, 1, 0, Term, 64)] // no such bucket
    [InlineData(-1, 0, 1, 0, Term, 64)]
    [InlineData(0, 0, 3, 0, Term, 64)] // no node of the tree
    [InlineData(0, 1, 1, 0, Term, 64)]
    [InlineData(0, 0, 1, 0, Term, 63)] // another length
    [InlineData(0, 0, 1, 0, Term, int.MaxValue)]
    public void Segment_ThatIsNotWaitedFor_GetsNoRoom(int bucket, int lo, int hi, long step, long term, int length)
    {
        Assert.Null(_loop.TryBegin(Header(bucket, lo, hi, step, term), length));
    }

    [Fact]
    public void Step_BeyondTheGrant_WaitsForIt()
    {
        Push(Header(0, 0, 2), 4);
        Assert.Equal(0f, Weight(1, 0));
        _loop.Advance(Grant(1));
        Assert.Equal(-0.5f, Weight(1, 0));
    }

    [Fact]
    public void Step_WithoutWeight_LeavesTheWeightsAlone()
    {
        _loop.Advance(Grant(1));
        SegmentHeader header = Header(0, 0, 2) with { Stats = default };
        Push(header, float.NaN);
        Assert.Equal(0f, Weight(1, 0));
    }

    [Fact]
    public async Task Checkpoint_OfAVersion_IsACutAtThatVersionOfEveryBucket()
    {
        _loop.Advance(Grant(1, 1));
        Push(Header(0, 0, 2), 4);
        Assert.Empty(_cuts);
        Push(Header(1, 0, 2), 8);
        CheckpointCut cut = Assert.Single(_cuts);
        // The partition moves on; the copy doesn't.
        _loop.Advance(Grant(2, 1));
        Push(Header(0, 0, 2, step: 1), 400);
        Assert.Single(_cuts);
        Assert.Equal(1, cut.Version);
        var saved = new Recorder();
        await cut.UploadAsync(saved, CancellationToken.None);
        Assert.Equal([("weights", 0L, -0.5f), ("weights", 64L, -1f)], saved.Pieces);
    }

    [Fact]
    public async Task Subscriber_InTheMiddleOfAStep_FirstGetsTheVersionBefore()
    {
        _loop.Advance(Grant(5));
        Push(Header(0, 0, 2), 4);
        using IWeightsSubscription subscription = _loop.Broadcast.Subscribe();
        var got = new List<(int Bucket, long Version)>();
        for (int i = 0; i < 3; i++)
        {
            (WeightsHeader Header, NativeSpan Payload) next = (await subscription.NextAsync(CancellationToken.None))!.Value;
            got.Add((next.Header.Bucket, next.Header.Version));
        }

        Assert.Equal([(0, 0L), (0, 1L), (1, 0L)], got);
        Push(Header(1, 0, 2), 4);
        Assert.Equal(new WeightsHeader(Term, 1, 1), (await subscription.NextAsync(CancellationToken.None))!.Value.Header);
    }

    [Fact]
    public async Task Subscriber_ThatIsSlow_SkipsToTheNewestVersion()
    {
        _loop.Advance(Grant(5));
        using IWeightsSubscription subscription = _loop.Broadcast.Subscribe();
        for (long step = 0; step < 3; step++)
        {
            Push(Header(0, 0, 2, step), 1);
            Push(Header(1, 0, 2, step), 1);
        }

        Assert.Equal(3, (await subscription.NextAsync(CancellationToken.None))!.Value.Header.Version);
        Assert.Equal(3, (await subscription.NextAsync(CancellationToken.None))!.Value.Header.Version);
        Assert.False(subscription.NextAsync(new CancellationToken(canceled: true)).IsCompletedSuccessfully);
    }

    // The second bucket's step 1 may still need this subscriber's shards, computed with all of version 1.
    [Fact]
    public async Task Subscriber_ThatIsSlow_GetsTheVersionBeforeTheNewestToo()
    {
        _loop.Advance(Grant(5));
        using IWeightsSubscription subscription = _loop.Broadcast.Subscribe();
        for (int i = 0; i < 2; i++) await subscription.NextAsync(CancellationToken.None);
        for (long step = 0; step < 3; step++)
        {
            Push(Header(0, 0, 2, step), 1);
            if (step < 2) Push(Header(1, 0, 2, step), 1);
        }

        var got = new List<(int Bucket, long Version)>();
        for (int i = 0; i < 4; i++)
        {
            (WeightsHeader Header, NativeSpan Payload) next = (await subscription.NextAsync(CancellationToken.None))!.Value;
            got.Add((next.Header.Bucket, next.Header.Version));
        }

        Assert.Equal([(0, 2L), (1, 1L), (0, 3L), (1, 2L)], got);
        Assert.False(subscription.NextAsync(new CancellationToken(canceled: true)).IsCompletedSuccessfully);
    }

    [Fact]
    public void Missing_IsWhatSomeBucketLacksOfTheStepInHand()
    {
        _loop.Advance(Grant(5));
        Assert.Equal([0, 1], _loop.Missing(0, evaluation: false).AsEnumerable());
        Push(Header(0, 0, 1), 4);
        Push(Header(1, 0, 1), 4);
        Assert.Equal([1], _loop.Missing(0, evaluation: false).AsEnumerable());
        Push(Header(0, 1, 2), 4);
        Assert.Equal([1], _loop.Missing(0, evaluation: false).AsEnumerable());
        Assert.Empty(_loop.Missing(2, evaluation: false));
        Push(Header(1, 1, 2), 4);
        Assert.Empty(_loop.Missing(0, evaluation: false));
        Assert.Equal([0, 1], _loop.Missing(1, evaluation: false).AsEnumerable());
        Assert.Equal([0, 1], _loop.Missing(1, evaluation: true).AsEnumerable());
        _loop.Receive(new SegmentHeader(SegmentKind.Evaluation, Term, 1, 1, -1, new ShardRange(1, 2), default), null);
        Assert.Equal([0], _loop.Missing(1, evaluation: true).AsEnumerable());
        Assert.Empty(_loop.Missing(0, evaluation: true));
    }

    [Fact]
    public void Evaluation_OfAllShards_IsReportedOnce()
    {
        SegmentHeader left = new(SegmentKind.Evaluation, Term, 1, 0, -1, new ShardRange(0, 1), new SegmentStats(1.5, 3, 2, 3, 3));
        SegmentHeader right = left with { Shards = new ShardRange(1, 2), Stats = new SegmentStats(0.5, 2, 1, 2, 2) };
        // A version that this server does not stand at would block the evaluations to come.
        _loop.Receive(left with { Step = 9 }, null);
        _loop.Receive(left, null);
        _loop.Receive(left, null);
        Assert.Empty(_reports);
        _loop.Receive(right, null);
        _loop.Receive(right, null);
        Assert.Equal(new EvaluationReduced(Term, 0, new SegmentStats(2, 5, 3, 5, 5)), Assert.Single(_reports));
    }

    private sealed class Recorder : ICheckpointPort
    {
        public List<(string Vector, long Offset, float First)> Pieces { get; } = [];

        public async Task SaveAsync(IAsyncEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)> pieces, CancellationToken cancellation)
        {
            await foreach ((CheckpointPieceHeader header, NativeSpan payload) in pieces)
            {
                Pieces.Add((header.Vector, header.Offset, payload.Span[0]));
            }
        }

        public Task LoadAsync(long term, long version, long offset, long length, Func<CheckpointPieceHeader, int, NativeSpan> place, CancellationToken cancellation) =>
            throw new InvalidOperationException();
    }

    [Fact]
    public void ClipNorm_HoldsAllBucketsBackUntilTheNormsAreKnown()
    {
        using var rig = new Ruled(new UpdateRule(new SgdSpec(1, 0).Create(), [], _ => 1) { ClipNorm = 1 }, TensorRole.Parameter);
        rig.Push(0, 3);
        Assert.Empty(rig.Reports);
        rig.Push(1, 4);
        NormsMeasured measured = Assert.IsType<NormsMeasured>(Assert.Single(rig.Reports));
        // 64 elements of 3 and 32 of 4.
        Assert.Equal([64 * 9f, 32 * 16f], measured.Squares.AsEnumerable());
        Assert.Equal(0f, rig.Weight(1, 0));
        rig.Loop.Decided(new NormsDecided(Term, 1, [1, 1]));
        Assert.Single(rig.Reports);
        rig.Loop.Decided(new NormsDecided(Term, 0, [576, 512]));
        // The mean gradient's norm is sqrt(1088) / 2.
        double clip = 1 / ((Math.Sqrt(1088) / 2) + 1e-6);
        Assert.Equal(-1.5 * clip, rig.Weight(1, 0), 1e-6);
        Assert.Equal(-2 * clip, rig.Weight(1, 1), 1e-6);
        Assert.IsType<StepApplied>(rig.Reports[^1]);
    }

    [Fact]
    public void Frozen_KeepsItsValuesAndHasNoNorm()
    {
        using var rig = new Ruled(new UpdateRule(new SgdSpec(1, 0).Create(), [], _ => 1) { ClipNorm = 1e9, Groups = [new("a", Frozen: true), null] }, TensorRole.Parameter);
        rig.Push(0, 3);
        rig.Push(1, 4);
        Assert.Equal([0, 32 * 16f], Assert.IsType<NormsMeasured>(Assert.Single(rig.Reports)).Squares.AsEnumerable());
        rig.Loop.Decided(new NormsDecided(Term, 0, [0, 512]));
        Assert.Equal((0f, -2f), (rig.Weight(1, 0), rig.Weight(1, 1)));
    }

    [Fact]
    public void Lars_MeasuresGradientsAndWeights_AndScalesEachTensorByBoth()
    {
        var lars = new LarsSpec(1, 0, TrustCoefficient: 0.5);
        using var rig = new Ruled(new UpdateRule(lars.Create(), lars.StateVectors, _ => 1) { DecaysAll = false }, TensorRole.Undecayed);
        rig.State.Weights(0, 0, 96).Span.Fill(2);
        rig.Push(0, 3);
        rig.Push(1, 4);
        Assert.Equal([64 * 9f, 32 * 16f, 64 * 4f, 32 * 4f], Assert.IsType<NormsMeasured>(Assert.Single(rig.Reports)).Squares.AsEnumerable());
        rig.Loop.Decided(new NormsDecided(Term, 0, [576, 512, 256, 128]));
        // The mean gradient is 1.5: its step is half as long as the weights. What isn't decayed isn't scaled.
        Assert.Equal(2 - (0.5 * 2), rig.Weight(1, 0), 1e-6);
        Assert.Equal(2 - 2, rig.Weight(1, 1), 1e-6);
    }

    [Fact]
    public void ClipValue_CutsTheMeanGradient_AndLeavesTheSegmentAlone()
    {
        using var rig = new Ruled(new UpdateRule(new SgdSpec(1, 0).Create(), [], _ => 1) { ClipValue = 0.5 }, TensorRole.Parameter);
        rig.Push(0, 3);
        rig.Push(1, -0.5f);
        Assert.Equal(-0.5f, rig.Weight(1, 0));
        Assert.Equal(0.25f, rig.Weight(1, 1));
    }

    [Fact]
    public void Buffer_MovesTowardsTheMeanOverExamples_AndHasNoNorm()
    {
        var rule = new UpdateRule(new SgdSpec(1, 0).Create(), [], _ => 1) { ClipNorm = 1e9, BufferMomentum = _ => 0.25 };
        using var rig = new Ruled(rule, TensorRole.Buffer);
        rig.Push(0, 3);
        rig.Push(1, 8);
        Assert.Equal([64 * 9f, 0], Assert.IsType<NormsMeasured>(Assert.Single(rig.Reports)).Squares.AsEnumerable());
        rig.Loop.Decided(new NormsDecided(Term, 0, [576, 0]));
        Assert.Equal(0.25f * (8f / 2), rig.Weight(1, 1));
    }

    [Fact]
    public void Decay_LeavesUndecayedTensorsAlone_WhenSaidSo()
    {
        var rule = new UpdateRule(new SgdSpec(1, 0, WeightDecay: 0.5).Create(), [], _ => 1) { DecaysAll = false };
        using var rig = new Ruled(rule, TensorRole.Undecayed);
        rig.State.Weights(0, 0, 96).Span.Fill(1);
        rig.Push(0, 0);
        rig.Push(1, 0);
        Assert.Equal(0.5f, rig.Weight(1, 0));
        Assert.Equal(1f, rig.Weight(1, 1));
    }

    [Fact]
    public void ScaledGradient_Overflows_ChangesNothingButTheScale()
    {
        var rule = new UpdateRule(new SgdSpec(1, 0.9).Create(), ["momentum"], _ => 1) { LossScale = 1 };
        using var rig = new Ruled(rule, TensorRole.Buffer);
        rig.State.Weights(0, 0, 96).Span.Fill(10);
        rig.Push(0, float.PositiveInfinity);
        rig.Push(1, 0);
        NormsMeasured measured = Assert.IsType<NormsMeasured>(Assert.Single(rig.Reports));
        rig.Loop.Decided(new NormsDecided(Term, 0, [measured.Squares[0], 0]));
        Assert.Equal(10f, rig.Weight(1, 0));
        Assert.Equal(9f, rig.Weight(1, 1));
        Assert.All(rig.State.Vector("momentum", 1, 0, 64).Span.ToArray(), v => Assert.Equal(0, v));
    }

    /// <summary>A server of one shard, a trained tensor of 64 elements and one of 32 of some role, under some rule.</summary>
    private sealed class Ruled : IDisposable
    {
        private readonly BucketPlan _plan;

        public Ruled(UpdateRule rule, TensorRole second)
        {
            var layout = new ParameterLayout([("a", [64], TensorRole.Parameter), ("b", [32], second)]);
            _plan = new BucketPlan(layout, 1, 64);
            State = new PartitionState(layout, _plan.Partitions[0], rule);
            Loop = new ServerLoop(new ShardTree(1), State, Term, 0, Reports.Add, cut => cut.Dispose());
            Loop.Advance(Grant(5));
        }

        public PartitionState State { get; }

        public ServerLoop Loop { get; }

        public List<MemberMessage> Reports { get; } = [];

        public float Weight(long version, int bucket) => State.Weights(version, _plan.Buckets[bucket].Offset, 1).Span[0];

        // Two examples in one shard.
        public void Push(int bucket, float value)
        {
            var header = new SegmentHeader(SegmentKind.Gradient, Term, 1, 0, bucket, new ShardRange(0, 1), new SegmentStats(1, 2, 0, 2, 2));
            ISegmentBuffer buffer = Loop.TryBegin(header, _plan.Buckets[bucket].Length)!;
            buffer.Elements.Span.Fill(value);
            Loop.Receive(header, buffer);
        }

        public void Dispose()
        {
            Loop.Dispose();
            State.Dispose();
        }
    }
}
