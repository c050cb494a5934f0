using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Training.Worker;

namespace DistTrain.Training.Tests.Worker;

public sealed class GradientBucketsTests : IDisposable
{
    private const long Term = 4;
    private const ulong Incarnation = 99;
    private const long Step = 12;

    private static readonly ParameterLayout Layout = new([
        ("a", [100], TensorRole.Parameter), ("b", [9000], TensorRole.Parameter), ("c", [7], TensorRole.Parameter), ("d", [40], TensorRole.Parameter)]);

    private static readonly BucketPlan Plan = new(Layout, 2, 4096);

    // Shards 0, 1, 2 and 4 of 8: the nodes [0,2), [2,3) and [4,5).
    private static readonly ShardRange[] Nodes = [new(0, 2), new(2, 3), new(4, 5)];

    private readonly KeepingConnection[] _servers = [new(), new()];
    private readonly GradientRound _round = new(Layout.Length);
    private readonly GradientBuckets _buckets;

    public GradientBucketsTests()
    {
        Assert.True(Plan.Buckets.Length >= 4);
        _round.Begin(Step, new ShardRows(new ShardTree(8), [0, 1, 2, 4], 64));
        for (int node = 0; node < Nodes.Length; node++) _round.Stats[node] = new SegmentStats(node, 8, node, 8, 8);
        _buckets = new GradientBuckets(Plan, [.. _servers.Cast<IServerConnection>()], Term, Incarnation);
        _buckets.Begin(_round);
    }

    public void Dispose() => _round.Dispose();

    private IEnumerable<(int Bucket, ShardRange Node)> Pushed => _servers.SelectMany(s => s.Keys);

    private static IEnumerable<(int Bucket, ShardRange Node)> All(IEnumerable<Bucket> buckets) =>
        buckets.SelectMany(b => Nodes.Select(n => (b.Index, n)));

    // The flat vector in pieces of random sizes, in random order.
    private static List<(long Start, long End)> Pieces(Random random, int largest)
    {
        var pieces = new List<(long, long)>();
        for (long at = 0; at < Layout.Length;)
        {
            long end = Math.Min(Layout.Length, at + random.Next(1, largest));
            pieces.Add((at, end));
            at = end;
        }

        (long, long)[] order = [.. pieces];
        random.Shuffle(order);
        return [.. order];
    }

    [Fact]
    public void Ready_RangesInAnyOrder_EachBucketIsPushedOnceWhenItsLastElementIs()
    {
        for (int seed = 0; seed < 60; seed++)
        {
            using var fresh = new GradientBucketsTests();
            bool[] ready = new bool[Layout.Length];
            foreach ((long start, long end) in Pieces(new Random(seed), seed % 2 == 0 ? 300 : 6000))
            {
                fresh._buckets.Ready(start, end);
                ready.AsSpan((int)start, (int)(end - start)).Fill(true);
                IEnumerable<Bucket> whole = Plan.Buckets.Where(b => ready.AsSpan((int)b.Offset, b.Length).IndexOf(false) < 0);
                Assert.Equal(All(whole), fresh.Pushed.OrderBy(p => p.Bucket).ThenBy(p => p.Node.Lo));
            }

            Assert.Equal(Plan.Buckets.Length * Nodes.Length, fresh.Pushed.Count());
        }
    }

    [Fact]
    public void Ready_WholeVector_SegmentsSayWhatTheyAreAndLendTheRoundsMemory()
    {
        _buckets.Ready(0, Layout.Length);

        for (int p = 0; p < 2; p++)
        {
            Assert.Equal(All(Plan.Partitions[p].Buckets), _servers[p].Keys);
            foreach ((SegmentHeader header, NativeSpan payload, _) in _servers[p].Segments)
            {
                int node = Array.IndexOf(Nodes, header.Shards);
                Assert.Equal(new SegmentHeader(SegmentKind.Gradient, Term, Incarnation, Step, header.Bucket, Nodes[node], _round.Stats[node]) { Number = node }, header);
                Assert.Equal(_round.Payload(node, Plan.Buckets[header.Bucket]), payload);
            }
        }
    }

    [Fact]
    public void Begin_AfterARound_CountsAnew()
    {
        _buckets.Ready(0, Layout.Length);
        _buckets.Begin(_round);
        _buckets.Ready(0, Layout.Length - 1);
        int last = Plan.Buckets.Length - 1;
        Assert.Equal(Nodes.Length, Pushed.Count(p => p.Bucket == last));
        _buckets.Ready(Layout.Length - 1, Layout.Length);
        Assert.Equal(2 * Nodes.Length, Pushed.Count(p => p.Bucket == last));
        Assert.Equal(2 * Plan.Buckets.Length * Nodes.Length, Pushed.Count());
    }

    [Fact]
    public void Resend_OfAPartition_PushesItsBucketsAndNoOthers()
    {
        _buckets.Ready(0, Layout.Length);
        int first = _servers[0].Pushed;
        _servers[1].Segments.Clear();

        _buckets.Resend(_round, 1);

        Assert.Equal(first, _servers[0].Pushed);
        Assert.Equal(All(Plan.Partitions[1].Buckets), _servers[1].Keys);
    }
}
