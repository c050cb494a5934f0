namespace DistTrain.Kernels.Tests;

/// <summary>Leaves as a short text.</summary>
internal static class LeafLists
{
    /// <summary>"2+1 3": two leaves, the first of two ranges, all apart from each other by a row.</summary>
    public static (KRange[] Ranges, int[] Starts, int Rows) Parse(string leaves)
    {
        var ranges = new List<KRange>();
        var starts = new List<int> { 0 };
        int row = 0;
        foreach (string leaf in leaves.Split(' '))
        {
            foreach (string count in leaf.Split('+'))
            {
                ranges.Add(new KRange(row, int.Parse(count, null)));
                row += int.Parse(count, null) + (leaves.Contains('+') ? 1 : 0);
            }
            starts.Add(ranges.Count);
        }
        return ([.. ranges], [.. starts], Math.Max(row, 1));
    }
}
