using System.Collections.Immutable;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;

namespace DistTrain.Training.ParameterServer;

/// <summary>What a server measures of the steps that are watched: bucket by bucket, as they are reduced.</summary>
internal sealed class WatchedStep
{
    private readonly PartitionState _state;
    private readonly List<float>[] _squares;
    private readonly List<float>[] _left;
    private readonly List<float>[] _right;
    private readonly List<int>[] _zeros;
    private double _leftWeight;
    private double _rightWeight;

    public WatchedStep(PartitionState state)
    {
        _state = state;
        int count = state.Partition.Buckets.Length;
        (_squares, _left, _right) = (Lists<float>(count), Lists<float>(count), Lists<float>(count));
        _zeros = Lists<int>(count);
    }

    /// <summary>A bucket's root is about to be joined from its two halves.</summary>
    public void Halves(int local, NativeSpan left, SegmentStats leftStats, NativeSpan right, SegmentStats rightStats)
    {
        Bucket bucket = _state.Partition.Buckets[local];
        _state.Measure(bucket, left, _left[local]);
        _state.Measure(bucket, right, _right[local]);
        (_leftWeight, _rightWeight) = (leftStats.WeightSum, rightStats.WeightSum);
    }

    /// <summary>A bucket's root is full.</summary>
    public void Root(int local, NativeSpan gradientSum)
    {
        _state.Measure(_state.Partition.Buckets[local], gradientSum, _squares[local]);
        _state.CountZeros(_state.Partition.Buckets[local], gradientSum, _zeros[local]);
    }

    /// <summary>All that was measured of a step; empties the lists.</summary>
    public Watched Take(long term, long step)
    {
        bool halves = Array.TrueForAll(_left, l => l.Count > 0);
        var watched = new Watched(
            term, _state.Partition.Index, step, Flat(_squares), Flat(_zeros), halves ? Flat(_left) : [], halves ? Flat(_right) : [], _leftWeight, _rightWeight);
        foreach (List<float> list in _squares.Concat(_left).Concat(_right)) list.Clear();
        foreach (List<int> list in _zeros) list.Clear();
        return watched;
    }

    private static List<T>[] Lists<T>(int count) => [.. Enumerable.Range(0, count).Select(_ => new List<T>())];

    private static ImmutableArray<T> Flat<T>(List<T>[] lists) => [.. lists.SelectMany(l => l)];
}
