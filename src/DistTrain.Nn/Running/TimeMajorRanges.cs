using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// The shards of a node as ranges of rows of (time, batch) arrays, as recurrent kernels have them: within a shard k
/// ascends as (time, example). It allocates only when it grows.
/// </summary>
internal sealed class TimeMajorRanges
{
    private KRange[] _ranges = [];
    private int[] _starts = [];
    private int _count;
    private int _leaves;

    /// <summary>The ranges of all leaves, leaf after leaf.</summary>
    public ReadOnlySpan<KRange> Ranges => _ranges.AsSpan(0, _count);

    /// <summary>Which of <see cref="Ranges"/> each leaf has.</summary>
    public ReadOnlySpan<int> LeafStarts => _starts.AsSpan(0, _leaves + 1);

    /// <summary>Takes the leaves of a node, for arrays of (<paramref name="time"/>, <paramref name="batch"/>) rows.</summary>
    public void Set(ReadOnlySpan<KRange> leaves, int time, int batch)
    {
        _leaves = leaves.Length;
        _count = leaves.Length * time;
        if (_starts.Length <= _leaves) _starts = new int[_leaves + 1];
        if (_ranges.Length < _count) _ranges = new KRange[_count];
        for (int leaf = 0; leaf <= _leaves; leaf++) _starts[leaf] = leaf * time;
        for (int leaf = 0; leaf < _leaves; leaf++)
        {
            for (int t = 0; t < time; t++)
            {
                _ranges[(leaf * time) + t] = new KRange(checked((t * batch) + leaves[leaf].Start), leaves[leaf].Count);
            }
        }
    }
}
