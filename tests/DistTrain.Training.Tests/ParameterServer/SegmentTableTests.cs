using DistTrain.Core.Channels;
using DistTrain.Core.Sharding;
using DistTrain.Training.ParameterServer;

namespace DistTrain.Training.Tests.ParameterServer;

public sealed class SegmentTableTests : IDisposable
{
    private const int Length = 37;

    private readonly SegmentPool _pool = new();

    public void Dispose() => _pool.Dispose();

    // Values whose sums depend on the order of additions, so that a wrong tree shows.
    private static float Value(int shard, int i) => (float)((shard + 1) * 0.1 * (i + 1)) * (shard % 2 == 0 ? 1e4f : 1e-3f);

    private static float Expected(ShardRange node, int i)
    {
        if (node.Length == 1) return Value(node.Lo, i);
        int split = ShardTree.SplitPoint(node);
        return Expected(node with { Hi = split }, i) + Expected(node with { Lo = split }, i);
    }

    private ISegmentBuffer Segment(ShardRange node)
    {
        ISegmentBuffer buffer = _pool.Rent(Length);
        for (int i = 0; i < Length; i++) buffer.Elements.Span[i] = Expected(node, i);
        return buffer;
    }

    private static SegmentStats Stats(ShardRange node) => new(node.Length * 0.5, node.Length, node.Lo, node.Length, node.Length);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    [InlineData(8)]
    [InlineData(11)]
    public void Place_InAnyOrderWithRepeatsAndOverlaps_GivesTheTreesBits(int shards)
    {
        var tree = new ShardTree(shards);
        var random = new Random(shards);
        for (int round = 0; round < 50; round++)
        {
            var table = new SegmentTable(tree, _pool);
            // Nodes arrive at random, many of them more than once, until the root is full.
            int guard = 0;
            while (!table.Complete)
            {
                int node = random.Next(tree.NodeCount);
                if (node == 0 && tree.NodeCount > 1 && random.Next(10) > 0) continue;
                table.Place(node, Stats(tree.Range(node)), Segment(tree.Range(node)));
                Assert.True(++guard < 10_000);
            }

            for (int i = 0; i < Length; i++)
            {
                Assert.Equal(BitConverter.SingleToInt32Bits(Expected(tree.Range(0), i)), BitConverter.SingleToInt32Bits(table.Root!.Elements.Span[i]));
            }

            Assert.Equal(shards, table.Stats.Examples);
            table.Reset();
        }
    }

    [Fact]
    public void Place_BelowAFullNode_Drops()
    {
        var tree = new ShardTree(4);
        var table = new SegmentTable(tree, _pool);
        int left = tree.Find(new ShardRange(0, 2));
        Assert.Equal(Placement.Kept, table.Place(left, default, Segment(new ShardRange(0, 2))));
        Assert.Equal(Placement.Dropped, table.Place(tree.Find(new ShardRange(1, 2)), default, Segment(new ShardRange(1, 2))));
        Assert.Equal(Placement.Dropped, table.Place(left, default, Segment(new ShardRange(0, 2))));
    }

    [Fact]
    public void Place_AboveNodesThatArrived_ReplacesThem()
    {
        var tree = new ShardTree(4);
        var table = new SegmentTable(tree, _pool);
        table.Place(tree.Find(new ShardRange(1, 2)), Stats(new(1, 2)), Segment(new ShardRange(1, 2)));
        table.Place(tree.Find(new ShardRange(0, 2)), Stats(new(0, 2)), Segment(new ShardRange(0, 2)));
        Assert.Equal(Placement.Complete, table.Place(tree.Find(new ShardRange(2, 4)), Stats(new(2, 4)), Segment(new ShardRange(2, 4))));
        Assert.Equal(4, table.Stats.Examples);
    }

    [Fact]
    public void Place_OfLentMemory_NeverWritesToIt()
    {
        var tree = new ShardTree(2);
        var table = new SegmentTable(tree, _pool);
        var left = new Lent(Segment(new ShardRange(0, 1)));
        var right = new Lent(Segment(new ShardRange(1, 2)));
        float[] before = [.. left.Elements.Span, .. right.Elements.Span];
        table.Place(tree.Find(new ShardRange(0, 1)), default, left);
        table.Place(tree.Find(new ShardRange(1, 2)), default, right);
        Assert.True(table.Complete);
        Assert.Equal((0, 0), (left.Released, right.Released));
        Assert.NotNull(table.Root);
        Assert.Null(table.Halfway);
        float[] after = [.. left.Elements.Span, .. right.Elements.Span];
        Assert.Equal(before, after);
        Assert.Equal((1, 1), (left.Released, right.Released));
    }

    [Fact]
    public void Halfway_RootNotJoined_GivesBothChildrenUntilReset()
    {
        var tree = new ShardTree(4);
        var table = new SegmentTable(tree, _pool);
        var left = new Lent(Segment(new ShardRange(0, 2)));
        var right = new Lent(Segment(new ShardRange(2, 4)));
        table.Place(tree.Find(new ShardRange(0, 2)), default, left);
        Assert.Null(table.Halfway);
        table.Place(tree.Find(new ShardRange(2, 4)), default, right);
        Assert.Equal((left.Elements, right.Elements), table.Halfway);
        table.Reset();
        Assert.Equal((1, 1), (left.Released, right.Released));
        Assert.Null(table.Halfway);
    }

    private sealed class Lent(ISegmentBuffer memory) : ISegmentBuffer
    {
        public NativeSpan Elements => memory.Elements;

        public bool Writable => false;

        public int Released { get; private set; }

        public void Release() => Released++;
    }
}
