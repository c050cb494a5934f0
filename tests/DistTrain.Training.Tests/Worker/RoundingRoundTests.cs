using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;
using DistTrain.Training.ParameterServer;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Worker;

/// <summary>A wire that rounds does so at every tree node, whoever computes it: the same bits from any assignment.</summary>
public sealed unsafe class RoundingRoundTests
{
    private const int Shards = 7;
    private const long Step = 5;

    private static readonly ParameterLayout Layout = new([("a", [40], TensorRole.Parameter), ("b", [5000], TensorRole.Parameter)]);
    private static readonly BucketPlan Plan = new(Layout, 1, 4096);
    private static readonly ShardTree Tree = new(Shards);

    [Theory]
    [InlineData(FloatFormat.BFloat16)]
    [InlineData(FloatFormat.Float16)]
    public void Root_OfAnyAssignment_HasTheSameBits(FloatFormat format)
    {
        float[] expected = Root(format, [[0], [1], [2], [3], [4], [5], [6]]);
        foreach (int[][] assignment in (int[][][])[[[0, 1, 2, 3, 4, 5, 6]], [[0, 1, 2], [3, 4, 5, 6]], [[6, 0], [1, 5], [2, 3, 4]], [[0, 1], [2, 3], [4, 5], [6]]])
        {
            Assert.Equal(expected.Select(BitConverter.SingleToInt32Bits), Root(format, assignment).Select(BitConverter.SingleToInt32Bits));
            Assert.Equal(expected.Select(BitConverter.SingleToInt32Bits), Root(WireFormat.Of(format), assignment, packed: true).Select(BitConverter.SingleToInt32Bits));
        }
    }

    [Fact]
    public void Int8Root_OfAnyAssignment_HasTheSameBits()
    {
        var wire = new Int8Format(Layout, 3);
        float[] expected = Root(wire, [[0], [1], [2], [3], [4], [5], [6]]);
        foreach (int[][] assignment in (int[][][])[[[0, 1, 2, 3, 4, 5, 6]], [[0, 1, 2], [3, 4, 5, 6]], [[6, 0], [1, 5], [2, 3, 4]]])
        {
            Assert.Equal(expected.Select(BitConverter.SingleToInt32Bits), Root(wire, assignment).Select(BitConverter.SingleToInt32Bits));
        }

        // Seven values between -4 and 4, of which each tensor's largest sum gives the step; the tensors' steps differ.
        float[][] leaves = [.. Enumerable.Range(0, Shards).Select(Leaf)];
        float[] exact = [.. Enumerable.Range(0, expected.Length).Select(i => leaves.Sum(leaf => leaf[i]))];
        for (int i = 0; i < expected.Length; i++) Assert.Equal(exact[i], expected[i], 1f);
        Assert.NotEqual(expected, Root(new Int8Format(Layout, 4), [[0, 1, 2, 3, 4, 5, 6]]));
    }

    [Fact]
    public void Root_OfALongTree_RoundsEverySum()
    {
        float[] values = new float[(int)Layout.Length];
        var leaves = new float[Shards][];
        for (int shard = 0; shard < Shards; shard++) leaves[shard] = Leaf(shard);
        for (int i = 0; i < values.Length; i++) values[i] = Node(Tree.Range(0), i);
        Assert.Equal(values, Root(FloatFormat.BFloat16, [[0, 1, 2, 3], [4, 5, 6]]));

        float Node(ShardRange range, int i)
        {
            int split = range.Length == 1 ? 0 : ShardTree.SplitPoint(range);
            return Rounded(range.Length == 1 ? leaves[range.Lo][i] : Node(range with { Hi = split }, i) + Node(range with { Lo = split }, i));
        }
    }

    [Fact]
    public void Stats_OfNodesApart_AreJoinedForWhatIsSent()
    {
        using var vectors = new GradientVectors(Layout.Length);
        using var round = new GradientRound(Layout.Length, WireFormat.Of(FloatFormat.BFloat16), vectors);
        round.Begin(0, new ShardRows(Tree, [0, 1, 4], 70, apart: true));
        for (int i = 0; i < 3; i++) round.Stats[i] = new SegmentStats(i + 1, 10, i, 10, 10);
        round.JoinStats();
        Assert.Equal([new ShardRange(0, 2), new ShardRange(4, 5)], round.Sent);
        Assert.Equal([new SegmentStats(3, 20, 1, 20, 20), new SegmentStats(3, 10, 2, 10, 10)], round.SentStats);
    }

    private static float[] Leaf(int shard)
    {
        var random = new Random(shard);
        var values = new float[(int)Layout.Length];
        for (int i = 0; i < values.Length; i++) values[i] = (random.NextSingle() - 0.5f) * 8;
        return values;
    }

    private static float Rounded(float value)
    {
        Precisions.Round(&value, FloatFormat.BFloat16, 1);
        return value;
    }

    private static float[] Root(FloatFormat format, int[][] workers) => Root(WireFormat.Of(format), workers);

    // Of tables whose segments were unpacked, or stay as they travelled.
    private static float[] Root(WireFormat wire, int[][] workers, bool packed = false)
    {
        using var pool = new SegmentPool();
        var tables = Plan.Buckets.Select(b => new SegmentTable(Tree, pool, wire, b, packed ? (ValueFormat)wire : null)).ToArray();
        foreach (int[] shards in workers)
        {
            int[] sorted = [.. shards.Order()];
            using var vectors = new GradientVectors(Layout.Length);
            using var round = new GradientRound(Layout.Length, wire, vectors);
            var rows = new ShardRows(Tree, sorted, 70, apart: true);
            round.Begin(Step, rows);
            for (int i = 0; i < sorted.Length; i++) Leaf(sorted[i]).CopyTo(new Span<float>((void*)rows.Plan.Gradients[i], (int)Layout.Length));
            foreach (Bucket bucket in Plan.Buckets)
            {
                round.Pack(bucket.Offset, bucket.End);
                round.Seal(bucket);
                for (int node = 0; node < round.Sent.Count; node++)
                {
                    NativeSpan payload = round.Payload(node, bucket);
                    Assert.True(wire.Fits(bucket, payload.Length));
                    ISegmentBuffer buffer = pool.Rent(packed ? payload.Length : bucket.Length);
                    if (packed) payload.Span.CopyTo(buffer.Elements.Span);
                    else Assert.True(wire.Unpack(payload, (float*)buffer.Elements.Address, bucket));
                    tables[bucket.Index].Place(Tree.Find(round.Sent[node]), default, buffer, Step);
                }
            }
        }

        float[] root = [.. Plan.Buckets.SelectMany(b => tables[b.Index].Root!.Elements.Span[..b.Length].ToArray())];
        foreach (SegmentTable table in tables) table.Reset();
        return root;
    }
}
