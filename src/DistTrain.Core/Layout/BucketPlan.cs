using System.Collections.Immutable;

namespace DistTrain.Core.Layout;

/// <summary>A contiguous range of one partition that travels and is reduced as one unit.</summary>
/// <param name="Index">Its number over the whole model, ascending with <paramref name="Offset"/>.</param>
/// <param name="Partition">The partition that it belongs to.</param>
/// <param name="Offset">First element in the flat vector.</param>
/// <param name="Length">Elements.</param>
public sealed record Bucket(int Index, int Partition, long Offset, int Length)
{
    /// <summary>The element after its last.</summary>
    public long End => Offset + Length;
}

/// <summary>A contiguous range of the flat parameter vector owned by one parameter server.</summary>
/// <param name="Index">Its number.</param>
/// <param name="Offset">First element in the flat vector.</param>
/// <param name="Length">Elements; at least one block.</param>
/// <param name="Buckets">Its buckets, ascending.</param>
public sealed record Partition(int Index, long Offset, long Length, ImmutableArray<Bucket> Buckets)
{
    /// <summary>The element after its last.</summary>
    public long End => Offset + Length;
}

/// <summary>
/// How the flat vector is cut into partitions and buckets. Cuts fall on block edges, so they never show in the bits
/// (DESIGN, I1). A function of layout, shares and bucket size alone.
/// </summary>
public sealed class BucketPlan
{
    /// <summary>The largest bucket: 1 MiB of fp32, unless one block is larger.</summary>
    public const int DefaultBucketLength = 256 * 1024;

    /// <summary>Cuts <paramref name="layout"/> into partitions of nearly equal size and buckets of at most
    /// <paramref name="bucketLength"/> elements (at least one block each). There can't be more partitions than blocks:
    /// see <see cref="MostPartitions"/>.</summary>
    public BucketPlan(ParameterLayout layout, int partitions, int bucketLength)
        : this(layout, [.. Enumerable.Repeat(1, partitions)], bucketLength)
    {
    }

    /// <summary>As above, with partitions of nearly these shares: numbers above 0, of which each has its part of the sum.</summary>
    public BucketPlan(ParameterLayout layout, ImmutableArray<int> shares, int bucketLength)
    {
        int partitions = shares.Length;
        var edges = layout.BlockEdges().ToList();
        if (partitions < 1 || shares.Any(s => s < 1)) throw new ArgumentOutOfRangeException(nameof(shares), "shares are numbers above 0, one for each partition");
        if (partitions > edges.Count - 1) throw new ArgumentOutOfRangeException(nameof(shares), $"a layout of {edges.Count - 1} blocks can't be cut into {partitions} partitions");
        long sum = shares.Sum(s => (long)s), before = 0;
        ArgumentOutOfRangeException.ThrowIfLessThan(bucketLength, 1);
        BucketLength = bucketLength;
        var partitionList = ImmutableArray.CreateBuilder<Partition>(partitions);
        var all = ImmutableArray.CreateBuilder<Bucket>();
        int edge = 0;
        for (int p = 0; p < partitions; p++)
        {
            // The cut nearest to the ideal one, that leaves a block for each of the others.
            before += shares[p];
            long ideal = (long)((Int128)layout.Length * before / sum);
            int start = edge++;
            int most = edges.Count - 1 - (partitions - 1 - p);
            while (edge < most && (p == partitions - 1 || Math.Abs(edges[edge + 1] - ideal) <= Math.Abs(edges[edge] - ideal))) edge++;
            var buckets = ImmutableArray.CreateBuilder<Bucket>();
            for (int first = start; first < edge;)
            {
                int last = first + 1;
                while (last < edge && edges[last + 1] - edges[first] <= bucketLength) last++;
                var bucket = new Bucket(all.Count, p, edges[first], checked((int)(edges[last] - edges[first])));
                all.Add(bucket);
                buckets.Add(bucket);
                first = last;
            }

            partitionList.Add(new Partition(p, edges[start], edges[edge] - edges[start], buckets.ToImmutable()));
        }

        Partitions = partitionList.ToImmutable();
        Buckets = all.ToImmutable();
    }

    /// <summary>The most elements that a bucket of several blocks has.</summary>
    public int BucketLength { get; }

    /// <summary>The partitions, ascending.</summary>
    public ImmutableArray<Partition> Partitions { get; }

    /// <summary>All buckets, ascending; <see cref="Bucket.Index"/> is the position here.</summary>
    public ImmutableArray<Bucket> Buckets { get; }

    /// <summary>Cuts as a coordinator orders it; no shares are equal ones.</summary>
    /// <exception cref="DistTrainException">ClusterLost: the layout can't be cut so.</exception>
    public static BucketPlan Ordered(ParameterLayout layout, int partitions, ImmutableArray<int> shares, int bucketLength)
    {
        bool sound = partitions >= 1 && partitions <= MostPartitions(layout) && bucketLength >= 1
            && (shares.IsEmpty || (shares.Length == partitions && shares.All(s => s >= 1)));
        if (!sound) throw new DistTrainException(ExitCode.ClusterLost, $"the coordinator orders {partitions} partitions with {shares.Length} shares, and buckets of {bucketLength}: this model can't be cut so");
        return shares.IsEmpty ? new(layout, partitions, bucketLength) : new(layout, shares, bucketLength);
    }

    /// <summary>The most partitions that a layout can be cut into: its number of blocks.</summary>
    public static int MostPartitions(ParameterLayout layout) => layout.BlockEdges().Count() - 1;

    /// <summary>
    /// The bucket size for a model when none is set: an eighth of it, between one block and
    /// <see cref="DefaultBucketLength"/>, so that small models too have several buckets to overlap.
    /// </summary>
    public static int ChooseBucketLength(ParameterLayout layout) =>
        (int)Math.Clamp(layout.Length / 8, ParameterLayout.BlockLength, DefaultBucketLength);
}
