using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Optim;
using DistTrain.Training.ParameterServer;

namespace DistTrain.Training.Tests.ParameterServer;

public sealed class SegmentwiseLoopTests : IDisposable
{
    private const long Term = 7;
    private const ulong Worker = 4;
    private const int Shards = 4;

    private readonly List<MemberMessage> _reports = [];
    private readonly List<CheckpointCut> _cuts = [];
    private readonly List<IDisposable> _owned = [];
    private readonly BucketPlan _plan;
    private readonly ParameterLayout _layout = new([("a", [64], TensorRole.Parameter), ("running", [16], TensorRole.Buffer), ("b", [32], TensorRole.Parameter)]);
    private readonly PartitionState _state;
    private readonly SegmentwiseLoop _loop;

    public SegmentwiseLoopTests()
    {
        _plan = new BucketPlan(_layout, 1, 80);
        Assert.Equal(2, _plan.Buckets.Length);
        (_state, _loop) = Make(new SgdSpec(LearningRate: 0.5, Momentum: 0));
    }

    public void Dispose()
    {
        foreach (CheckpointCut cut in _cuts) cut.Dispose();
        foreach (IDisposable owned in Enumerable.Reverse(_owned)) owned.Dispose();
    }

    private (PartitionState State, SegmentwiseLoop Loop) Make(OptimizerSpec optimizer)
    {
        var rule = new UpdateRule(optimizer.Create(), optimizer.StateVectors, step => 0.5 / (step + 1))
        {
            Consistency = Consistency.Ssp(3),
            BatchSize = _ => 2 * Shards,
            BufferMomentum = _ => 0.5,
        };
        var state = new PartitionState(_layout, _plan.Partitions[0], rule);
        var loop = new SegmentwiseLoop(new ShardTree(Shards), state, Term, 0, _reports.Add, _cuts.Add);
        _owned.AddRange([state, loop]);
        return (state, loop);
    }

    private static SegmentHeader Header(int bucket, int lo, int hi, long step = 0, long basis = 0, long number = 0) =>
        new(SegmentKind.Gradient, Term, Worker, step, bucket, new ShardRange(lo, hi), new SegmentStats(1, 2 * (hi - lo), 0, 2 * (hi - lo), 2 * (hi - lo)))
        {
            Basis = basis,
            Number = number,
        };

    private bool Push(SegmentHeader header, float value, SegmentwiseLoop? loop = null)
    {
        loop ??= _loop;
        ISegmentBuffer? buffer = loop.TryBegin(header, _plan.Buckets[header.Bucket].Length);
        if (buffer is null) return false;
        buffer.Elements.Span.Fill(value);
        loop.Receive(header, buffer);
        return true;
    }

    private static Clock Grant(long until, long committed = 0, params long[] checkpoints) => new(Term, committed, until, [.. checkpoints], default);

    private float Weight(int bucket, int at = 0) => _state.Weights(0, _plan.Buckets[bucket].Offset + at, 1).Span[0];

    private async Task<WeightsHeader> NewestAsync(int bucket)
    {
        using IWeightsSubscription subscription = _loop.Broadcast.Subscribe(incarnation: Worker);
        while (true)
        {
            WeightsHeader header = (await subscription.NextAsync(CancellationToken.None))!.Value.Header;
            if (header.Bucket == bucket) return header;
        }
    }

    [Fact]
    public void Segments_EachByItself_AddUpToTheMiniBatch()
    {
        _loop.Advance(Grant(5));
        Push(Header(0, 0, 1), 4);
        // A mean of 4 / 2, times the rate of 0.5 and a quarter of the mini-batch.
        Assert.Equal(-0.25f, Weight(0));
        Push(Header(0, 2, 4), 8);
        Assert.Equal(-0.75f, Weight(0));
        Push(Header(0, 1, 2), 4);
        // (4 + 8 + 4) / 8 examples, times 0.5: as all at once.
        Assert.Equal(-1f, Weight(0));
        // Statistics move by shares too: towards 2, 2 and 2, by 0.5 in all.
        float running = 0;
        foreach ((float share, float mean) in ((float, float)[])[(0.25f, 2), (0.5f, 2), (0.25f, 2)]) running = ((1 - (0.5f * share)) * running) + (0.5f * share * mean);
        Assert.Equal(running, Weight(0, 64));
    }

    [Fact]
    public void Rate_IsThatOfTheSegmentsOwnStep()
    {
        _loop.Advance(Grant(5));
        Push(Header(0, 0, 1, step: 1), 4);
        Assert.Equal(-0.125f, Weight(0));
        Push(Header(0, 0, 1, step: 0), 4);
        Assert.Equal(-0.375f, Weight(0));
    }

    [Theory]
    [InlineData(0, 2)] // the same again
    [InlineData(0, 1)] // a part of it
    [InlineData(1, 2)]
    [InlineData(0, 4)] // more than it
    public void Segment_ThatOverlapsWhatIsThere_IsDroppedAndTaken(int lo, int hi)
    {
        _loop.Advance(Grant(5));
        Push(Header(0, 0, 2, number: 0), 4);
        float weight = Weight(0);
        Assert.True(Push(Header(0, lo, hi, number: 1), 100));
        Assert.Equal(weight, Weight(0));
        Push(Header(0, 2, 4), 4);
        Assert.NotEqual(weight, Weight(0));
    }

    [Fact]
    public async Task Subscriber_HearsOfUpdatesWholeStepsAndWhatIsTaken()
    {
        _loop.Advance(Grant(5));
        Assert.Equal(new WeightsHeader(Term, 0, 0), await NewestAsync(0));
        Push(Header(0, 0, 2, number: 0), 4);
        Assert.Equal(new WeightsHeader(Term, 0, 0) { Updates = 1, Taken = 1 }, await NewestAsync(0));
        Push(Header(0, 0, 2, number: 2), 4);
        Assert.Equal(new WeightsHeader(Term, 0, 0) { Updates = 1, Taken = 1 }, await NewestAsync(0));
        Push(Header(0, 2, 4, number: 1), 4);
        Assert.Equal(new WeightsHeader(Term, 1, 0) { Updates = 2, Taken = 3 }, await NewestAsync(0));
    }

    [Fact]
    public void Steps_ThatAreWholeInEveryBucket_AreReportedInOrder()
    {
        _loop.Advance(Grant(5));
        Push(Header(0, 0, 4, step: 1, basis: 0), 4);
        Push(Header(1, 0, 4, step: 1, basis: 0), 4);
        Push(Header(0, 0, 4), 4);
        Assert.Empty(_reports.OfType<StepApplied>());
        Push(Header(1, 0, 4), 4);
        StepApplied[] applied = [.. _reports.OfType<StepApplied>()];
        Assert.Equal([0L, 1], applied.Select(a => a.Step));
        Assert.Equal([8L, 8], applied.Select(a => a.Stats.Examples));
        // Four segments: two of a step that lacked the one before, two that lacked nothing.
        Assert.Equal((4, 2, 1), (applied[0].Segments, applied[0].StalenessSum, applied[0].StalenessMax));
        Assert.Equal(0, applied[1].Segments);
    }

    [Fact]
    public async Task Segments_BeyondTheGrant_WaitForIt()
    {
        Push(Header(0, 0, 4, step: 2, number: 0), 4);
        _loop.Advance(Grant(1));
        // Taken before one that waits, but told of after it.
        Push(Header(0, 0, 4, step: 0, number: 1), 4);
        Assert.Equal((-0.25f, 0L), (Weight(0), (await NewestAsync(0)).Taken));
        _loop.Advance(Grant(3));
        Assert.Equal((-0.25f - (0.25f / 3), 2L), (Weight(0), (await NewestAsync(0)).Taken));
    }

    [Theory]
    [InlineData(0, 0, 2, 0)] // a committed step
    [InlineData(0, 0, 2, 2000)] // a step that nobody was granted
    [InlineData(9, 0, 2, 1)] // no such bucket
    [InlineData(0, 1, 3, 1)] // no node of the tree
    public void Segment_ThatIsNobodysBusiness_GetsNoRoom(int bucket, int lo, int hi, long step)
    {
        _loop.Advance(Grant(5, committed: 1));
        Assert.Null(_loop.TryBegin(Header(bucket, lo, hi, step), 80));
    }

    [Fact]
    public void Checkpoint_OfAVersionThatIsGrantedTo_IsCopiedWhenItIsReached()
    {
        _loop.Advance(Grant(1, 0, 1));
        Push(Header(0, 0, 4), 4);
        Push(Header(1, 0, 2), 4);
        Assert.Empty(_cuts);
        Push(Header(1, 2, 4), 4);
        Assert.Equal(1, Assert.Single(_cuts).Version);
    }

    // Momentum, Adam's averages and their corrections go by updates: the first one is the same as a whole step of its share.
    [Fact]
    public void Adam_CorrectsByTheUpdatesOfTheBucket()
    {
        (PartitionState state, SegmentwiseLoop loop) = Make(AdamSpec.Adam);
        loop.Advance(Grant(5));
        for (int shard = 0; shard < Shards; shard++) Push(Header(0, shard, shard + 1), 4, loop);
        // A constant gradient moves Adam by its rate, whatever the gradient: four quarters of it.
        Assert.Equal(-0.5f, state.Weights(0, 0, 1).Span[0], 1e-5f);
    }

    [Fact]
    public void SteadyState_AllocatesOnlyReports()
    {
        _loop.Advance(Grant(1000));
        void Steps(int from, int to)
        {
            for (int step = from; step < to; step++)
            {
                for (int bucket = 0; bucket < 2; bucket++)
                {
                    Push(Header(bucket, 0, 2, step, step), 1);
                    Push(Header(bucket, 2, 4, step, step), 1);
                }
            }
        }

        Steps(0, 50);
        _reports.Clear();
        _reports.EnsureCapacity(400);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Steps(50, 250);
        long reports = _reports.OfType<StepApplied>().Count();
        Assert.Equal(200, reports);
        // A record of 15 numbers with its header.
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, reports * 160);
    }
}
