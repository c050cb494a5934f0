namespace DistTrain.Training.Checkpoints;

/// <summary>Which elements have been written: disjoint ranges, ascending, neighbours joined. Not thread-safe.</summary>
internal sealed class WrittenRanges
{
    private readonly List<(long Start, long End)> _ranges = [];

    /// <summary>Marks [<paramref name="start"/>, <paramref name="end"/>); what was marked before stays so.</summary>
    public void Add(long start, long end)
    {
        if (start >= end) return;
        // The first range that ends at or after the start is the first that may join.
        int low = 0;
        int high = _ranges.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_ranges[middle].End < start) low = middle + 1;
            else high = middle;
        }

        int last = low;
        while (last < _ranges.Count && _ranges[last].Start <= end)
        {
            start = Math.Min(start, _ranges[last].Start);
            end = Math.Max(end, _ranges[last].End);
            last++;
        }

        _ranges.RemoveRange(low, last - low);
        _ranges.Insert(low, (start, end));
    }

    /// <summary>The first stretch of [0, <paramref name="length"/>) that is not marked, or null.</summary>
    public (long Start, long End)? FirstMissing(long length)
    {
        if (length == 0) return null;
        if (_ranges.Count == 0) return (0, length);
        (long start, long end) = _ranges[0];
        if (start > 0) return (0, Math.Min(start, length));
        if (end >= length) return null;
        return (end, _ranges.Count > 1 ? Math.Min(_ranges[1].Start, length) : length);
    }
}
