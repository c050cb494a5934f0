using System.Collections.Immutable;
using DistTrain.Core.Layout;

namespace DistTrain.Core.Tests.Layout;

public class LayoutTests
{
    private static ParameterLayout Layout(params int[] lengths) =>
        new(lengths.Select((n, i) => ($"t{i}", ImmutableArray.Create(n), TensorRole.Parameter)));

    [Fact]
    public void Layout_OfTensors_AlignsEachToSixteenElements()
    {
        ParameterLayout layout = Layout(10, 16, 33);
        Assert.Equal([0L, 16, 32], layout.Tensors.Select(t => t.Offset));
        Assert.Equal(80, layout.Length);
        Assert.Equal(59, layout.ElementCount);
    }

    [Fact]
    public void Layout_WithTwoTensorsOfOneName_IsRefused()
    {
        Assert.Throws<ArgumentException>(() => new ParameterLayout([("w", [1], TensorRole.Parameter), ("w", [2], TensorRole.Parameter)]));
    }

    [Fact]
    public void BlockEdges_RestartAtEachTensor()
    {
        Assert.Equal([0L, 4096, 8192, 8208, 8224], Layout(8193, 10).BlockEdges());
    }

    [Theory]
    [InlineData(1, 4096)]
    [InlineData(2, 4096)]
    [InlineData(3, 5000)]
    [InlineData(5, 100_000)]
    public void Plan_OfAnyPartitions_CoversTheVectorWithWholeBlocks(int partitions, int bucketLength)
    {
        ParameterLayout layout = Layout(30_000, 10, 4096, 128, 12_345);
        var plan = new BucketPlan(layout, partitions, bucketLength);
        var edges = layout.BlockEdges().ToHashSet();
        long at = 0;
        foreach (Partition partition in plan.Partitions)
        {
            Assert.Equal(at, partition.Offset);
            Assert.NotEmpty(partition.Buckets);
            foreach (Bucket bucket in partition.Buckets)
            {
                Assert.Equal(at, bucket.Offset);
                Assert.Equal(bucket, plan.Buckets[bucket.Index]);
                Assert.Equal(partition.Index, bucket.Partition);
                Assert.Contains(bucket.Offset, edges);
                at = bucket.End;
            }

            Assert.Equal(at, partition.End);
        }

        Assert.Equal(layout.Length, at);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(1, 3)]
    [InlineData(700_000, 300_000)]
    [InlineData(1, int.MaxValue)]
    public void Plan_OfShares_IsCutNearThem(int first, int second)
    {
        ParameterLayout layout = Layout(100_000, 50_000);
        var plan = new BucketPlan(layout, [first, second], 4096);
        double ideal = (double)first / ((long)first + second) * layout.Length;
        Assert.InRange(plan.Partitions[0].Length, Math.Max(1, ideal - 4096), Math.Max(4096, ideal + 4096));
        Assert.Equal(layout.Length, plan.Partitions[1].End);
    }

    [Fact]
    public void Plan_OfSharesThatAreNone_IsRefused() => Assert.Throws<ArgumentOutOfRangeException>(() => new BucketPlan(Layout(10_000, 10_000), [1, 0], 4096));

    [Fact]
    public void Plan_WithAsManyPartitionsAsBlocks_GivesEachOne()
    {
        ParameterLayout layout = Layout(5000, 10, 10);
        var plan = new BucketPlan(layout, BucketPlan.MostPartitions(layout), 4096);
        Assert.Equal(4, plan.Partitions.Length);
        Assert.All(plan.Partitions, p => Assert.Single(p.Buckets));
    }

    [Fact]
    public void Plan_WithMorePartitionsThanBlocks_IsRefused()
    {
        ParameterLayout layout = Layout(10);
        Assert.Throws<ArgumentOutOfRangeException>(() => new BucketPlan(layout, 2, 4096));
    }

    [Theory]
    [InlineData(0, 0, 16)]
    [InlineData(-1, 0, 16)]
    [InlineData(int.MaxValue, 0, 16)]
    [InlineData(1, 2, 16)]
    [InlineData(1, 0, 0)]
    public void Ordered_WhatCannotBeCut_IsRefusedBeforeMemoryIsTaken(int partitions, int shares, int bucketLength)
    {
        var layout = new ParameterLayout([("a", [64], TensorRole.Parameter)]);
        var e = Assert.Throws<DistTrainException>(() => BucketPlan.Ordered(layout, partitions, [.. Enumerable.Repeat(1, shares)], bucketLength));
        Assert.Equal(ExitCode.ClusterLost, e.ExitCode);
    }
}
