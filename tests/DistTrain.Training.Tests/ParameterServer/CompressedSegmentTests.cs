using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Optim;
using DistTrain.Training.ParameterServer;

namespace DistTrain.Training.Tests.ParameterServer;

/// <summary>Packed segments at a server: whole and compressed ones join, what nobody can have packed is dropped.</summary>
public sealed unsafe class CompressedSegmentTests : IDisposable
{
    private const long Term = 7;

    private static readonly ParameterLayout Layout = new([("a", [64], TensorRole.Parameter)]);
    private static readonly TopKFormat Wire = new(Layout, 0.05);

    private readonly List<MemberMessage> _reports = [];
    private readonly BucketPlan _plan = new(Layout, 1, 64);
    private readonly PartitionState _state;
    private readonly ServerLoop _loop;

    public CompressedSegmentTests()
    {
        var optimizer = new SgdSpec(LearningRate: 1, Momentum: 0);
        _state = new PartitionState(
            Layout, _plan.Partitions[0], new UpdateRule(optimizer.Create(), optimizer.StateVectors, _ => 1) { Wire = new WireOptions(Wire, WireFormat.Exact) });
        _loop = new ServerLoop(new ShardTree(2), _state, Term, 0, _reports.Add, _ => { });
        _loop.Advance(new Clock(Term, 0, 5, [], default));
    }

    public void Dispose()
    {
        _loop.Dispose();
        _state.Dispose();
    }

    [Fact]
    public void PackedAndWholeSegments_Join()
    {
        Push(0, Packed());
        Push(1, [.. Enumerable.Repeat(2f, 64)]);
        StepApplied applied = Assert.IsType<StepApplied>(Assert.Single(_reports));
        Assert.Equal((4 + 2 + 64) * 4, applied.Traffic.Pushed);
        Span<float> weights = _state.Weights(1, 0, 64).Span;
        // Two examples; the first segment has the values 60 to 63 at the end.
        Assert.Equal(-1f, weights[0]);
        Assert.Equal(-(2 + 63) / 2f, weights[63]);
    }

    [Theory]
    [InlineData(5)]
    [InlineData(7)]
    [InlineData(63)]
    [InlineData(65)]
    public void OtherLengths_FindNoRoom(int words) => Assert.Null(_loop.TryBegin(Header(0), words));

    [Fact]
    public void IndexOutsideTheBlock_DropsTheSegment()
    {
        float[] bad = Packed();
        fixed (float* words = bad) ((ushort*)(words + 4))[3] = 64;
        Push(0, bad);
        Push(1, Packed());
        Assert.Empty(_reports);
        Push(0, Packed());
        Assert.Single(_reports);
    }

    private static SegmentHeader Header(int shard) =>
        new(SegmentKind.Gradient, Term, 1, 0, 0, new ShardRange(shard, shard + 1), new SegmentStats(1, 1, 0, 1, 1));

    private float[] Packed()
    {
        float[] values = [.. Enumerable.Range(0, 64).Select(i => (float)i)], held = new float[64], packed = new float[Wire.Words(_plan.Buckets[0])];
        fixed (float* v = values, h = held, p = packed)
        {
            Wire.Pack(v, h, new NativeSpan((nint)p, packed.Length), new WireNode(0, new ShardRange(0, 1)), _plan.Buckets[0]);
        }

        return packed;
    }

    private void Push(int shard, float[] words)
    {
        ISegmentBuffer? buffer = _loop.TryBegin(Header(shard), words.Length);
        Assert.NotNull(buffer);
        words.CopyTo(buffer.Elements.Span);
        _loop.Receive(Header(shard), buffer);
    }
}
