using DistTrain.Core.Sharding;

namespace DistTrain.Core.Tests.Sharding;

public class ShardTreeTests
{
    [Theory]
    [InlineData(2, 1)]
    [InlineData(3, 2)]
    [InlineData(4, 2)]
    [InlineData(5, 4)]
    [InlineData(8, 4)]
    [InlineData(9, 8)]
    public void SplitPoint_OfLength_IsLargestPowerOfTwoBelow(int length, int expected)
    {
        Assert.Equal(10 + expected, ShardTree.SplitPoint(new ShardRange(10, 10 + length)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(5)]
    [InlineData(8)]
    [InlineData(13)]
    [InlineData(64)]
    public void Tree_OfAnySize_SplitsEveryNodeIntoItsChildren(int shards)
    {
        var tree = new ShardTree(shards);
        Assert.Equal((2 * shards) - 1, tree.NodeCount);
        Assert.Equal(new ShardRange(0, shards), tree.Range(0));
        for (int node = 0; node < tree.NodeCount; node++)
        {
            ShardRange range = tree.Range(node);
            Assert.Equal(node, tree.Find(range));
            if (range.Length == 1)
            {
                Assert.Equal(-1, tree.Left(node));
                continue;
            }

            Assert.Equal(range with { Hi = ShardTree.SplitPoint(range) }, tree.Range(tree.Left(node)));
            Assert.Equal(range with { Lo = ShardTree.SplitPoint(range) }, tree.Range(tree.Right(node)));
            Assert.Equal(node, tree.Parent(tree.Left(node)));
            Assert.Equal(node, tree.Parent(tree.Right(node)));
        }
    }

    [Fact]
    public void Find_OfRangeThatIsNoNode_IsMinusOne()
    {
        var tree = new ShardTree(8);
        Assert.Equal(-1, tree.Find(new ShardRange(1, 3)));
        Assert.Equal(-1, tree.Find(new ShardRange(0, 9)));
        Assert.Equal(-1, tree.Find(new ShardRange(3, 3)));
    }

    [Theory]
    [InlineData(8, "0,1,2,3,4,5,6,7", "[0,8)")]
    [InlineData(8, "0,1,2", "[0,2) [2,3)")]
    [InlineData(8, "3,4,5", "[3,4) [4,6)")]
    [InlineData(8, "1,2", "[1,2) [2,3)")]
    [InlineData(5, "0,1,2,3", "[0,4)")]
    [InlineData(5, "3,4", "[3,4) [4,5)")]
    [InlineData(8, "0,2,3,7", "[0,1) [2,4) [7,8)")]
    [InlineData(8, "", "")]
    public void TopNodes_OfShards_AreTheHighestNodesWithin(int shards, string owned, string expected)
    {
        IEnumerable<int> list = owned.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse);
        Assert.Equal(expected, string.Join(" ", new ShardTree(shards).TopNodes(list)));
    }

    [Theory]
    [InlineData(128, 8)]
    [InlineData(30, 8)]
    [InlineData(3, 8)]
    [InlineData(0, 8)]
    [InlineData(1000003, 7)]
    public void Slice_OfAllShards_CoversEveryExampleOnce(long n, int shards)
    {
        long at = 0;
        for (int s = 0; s < shards; s++)
        {
            (long start, long end) = ShardSlice.Of(n, shards, s);
            Assert.Equal(at, start);
            Assert.InRange(end - start, n / shards, (n / shards) + 1);
            at = end;
        }

        Assert.Equal(n, at);
    }

    [Theory]
    [InlineData(8, 3)]
    [InlineData(8, 8)]
    [InlineData(8, 11)]
    [InlineData(5, 2)]
    public void ForWorker_OfAllWorkers_CoversEveryShardOnce(int shards, int workers)
    {
        IEnumerable<int> all = Enumerable.Range(0, workers).SelectMany(w =>
        {
            ShardRange range = ShardSlice.ForWorker(shards, workers, w);
            return Enumerable.Range(range.Lo, range.Length);
        });
        Assert.Equal(Enumerable.Range(0, shards), all);
    }
}
