using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Data;
using DistTrain.Kernels;
using DistTrain.Nn;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Worker;

public sealed unsafe class TrainingLoopTests : IDisposable
{
    private const int Shards = 8;
    private const int Examples = 96;
    private const ulong Seed = 5;

    private static readonly Model Net = Model.Build(
        new([Layers.Dense(70), Layers.Relu(), Layers.Dense(33), Layers.Tanh(), Layers.Dense(4)]), Losses.SoftmaxCrossEntropy, [20], 4, 0);

    private static readonly BucketPlan Plan = new(Net.Layout, 2, 1024);
    private static readonly ArrayDataset Data = MakeData();

    private readonly NativeBuffer _weights = new(Net.Layout.Length);

    public TrainingLoopTests() => Net.Initialise(Seed, 0, _weights.Span);

    public void Dispose() => _weights.Dispose();

    private static ArrayDataset MakeData()
    {
        var random = new Random(1);
        return new ArrayDataset(
            Enumerable.Range(0, Examples * 20).Select(_ => (float)(random.NextDouble() - 0.5)).ToArray(), [20],
            Enumerable.Range(0, Examples).Select(_ => random.Next(4)).ToArray(), 4);
    }

    private static WorkerSetup Setup(int batchSize, int threads) => new(Net, Data, Data, Seed, batchSize, Shards, threads);

    /// <summary>What a worker with these shards pushes in a step, into what the others pushed.</summary>
    private void Compute(Dictionary<(int Bucket, ShardRange Node), (SegmentStats Stats, float[] Values)> segments, int batchSize, long step, int threads, params int[] shards)
    {
        var tree = new ShardTree(Shards);
        KeepingConnection[] servers = [new(), new()];
        using var loop = new TrainingLoop(Setup(batchSize, threads), tree);
        using var round = new GradientRound(Net.Layout.Length);
        var rows = new ShardRows(tree, shards, loop.BatchSize(step));
        round.Begin(step, rows);
        loop.Step(_weights.Pointer, rows, round, new GradientBuckets(Plan, [.. servers.Cast<IServerConnection>()], 1, 1));
        foreach ((SegmentHeader header, _, float[] values) in servers.SelectMany(s => s.Segments))
        {
            Assert.Equal(step, header.Step);
            Assert.True(segments.TryAdd((header.Bucket, header.Shards), (header.Stats, values)), $"bucket {header.Bucket} of {header.Shards} was pushed twice");
        }
    }

    // The segment of a node, joined along the tree from what was pushed.
    private static (SegmentStats Stats, float[] Values) Join(Dictionary<(int Bucket, ShardRange Node), (SegmentStats Stats, float[] Values)> segments, int bucket, ShardRange node)
    {
        if (segments.TryGetValue((bucket, node), out (SegmentStats Stats, float[] Values) whole)) return whole;
        Assert.True(node.Length > 1, $"nobody pushed bucket {bucket} of shard {node.Lo}");
        int split = ShardTree.SplitPoint(node);
        (SegmentStats leftStats, float[] left) = Join(segments, bucket, node with { Hi = split });
        (SegmentStats rightStats, float[] right) = Join(segments, bucket, node with { Lo = split });
        return (SegmentStats.Join(leftStats, rightStats), [.. left.Zip(right, (l, r) => l + r)]);
    }

    [Theory]
    [InlineData(48, 0)] // 6 rows a shard
    [InlineData(37, 1)] // uneven shards
    [InlineData(37, 2)] // the short last mini-batch of an epoch
    [InlineData(5, 3)] // empty shards
    public void Step_OneWorkerOrThree_GivesTheSameBits(int batchSize, long step)
    {
        var one = new Dictionary<(int, ShardRange), (SegmentStats, float[])>();
        Compute(one, batchSize, step, 1, 0, 1, 2, 3, 4, 5, 6, 7);
        int[][][] splits = [[[0, 1, 2], [3, 4], [5, 6, 7]], [[0, 3, 5], [1, 2, 7], [4, 6]]];
        foreach (int[][] split in splits)
        {
            var three = new Dictionary<(int, ShardRange), (SegmentStats, float[])>();
            foreach (int[] shards in split) Compute(three, batchSize, step, threads: shards.Length, shards);
            foreach (Bucket bucket in Plan.Buckets)
            {
                (SegmentStats expectedStats, float[] expected) = Join(one, bucket.Index, new ShardRange(0, Shards));
                (SegmentStats stats, float[] values) = Join(three, bucket.Index, new ShardRange(0, Shards));
                Assert.Contains(expected, v => v != 0);
                Assert.Equal(expected.Select(BitConverter.SingleToInt32Bits), values.Select(BitConverter.SingleToInt32Bits));
                Assert.Equal((expectedStats.WeightSum, expectedStats.Correct, expectedStats.Examples), (stats.WeightSum, stats.Correct, stats.Examples));
                Assert.Equal(BitConverter.DoubleToInt64Bits(expectedStats.LossSum), BitConverter.DoubleToInt64Bits(stats.LossSum));
            }
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Step_SteadyState_AllocatesNothing(int threads)
    {
        var tree = new ShardTree(Shards);
        FakeConnection[] servers = [new(), new()];
        using var loop = new TrainingLoop(Setup(32, threads), tree);
        using var round = new GradientRound(Net.Layout.Length);
        var rows = new ShardRows(tree, [0, 1, 2, 5], 32);
        var buckets = new GradientBuckets(Plan, [.. servers.Cast<IServerConnection>()], 1, 1);
        void Steps(int from, int to)
        {
            for (int step = from; step < to; step++)
            {
                round.Begin(step, rows);
                loop.Step(_weights.Pointer, rows, round, buckets);
            }
        }

        Steps(0, 10);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Steps(10, 30);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        // Of every step, every bucket of the nodes [0,2), [2,3) and [5,6).
        Assert.Equal(30 * Plan.Buckets.Length * 3, servers.Sum(s => s.Pushed));
    }

    [Fact]
    public void Evaluate_ShardsOneByOne_CountEveryExampleOnce()
    {
        using var loop = new TrainingLoop(Setup(32, 1), new ShardTree(Shards));
        SegmentStats[] stats = [.. Enumerable.Range(0, Shards).Select(s => loop.Evaluate(_weights.Pointer, s))];

        Assert.Equal(Examples, stats.Sum(s => s.Examples));
        Assert.Equal(Examples, stats.Sum(s => s.WeightSum));
        Assert.All(stats, s => Assert.InRange(s.MeanLoss, 1e-3, 10));
        // Again, the same bits.
        Assert.Equal(stats[3], loop.Evaluate(_weights.Pointer, 3));
    }
}
