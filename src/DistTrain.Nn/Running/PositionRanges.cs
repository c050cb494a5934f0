using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>Shards as ranges of positions, for layers whose rows are pixels or time steps.</summary>
internal static unsafe class PositionRanges
{
    /// <summary>Floats of room for each shard.</summary>
    public const int PerLeaf = 2;

    /// <summary>The ranges of a node's shards when each example has so many positions, counted from example <paramref name="origin"/> on.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="node">The node.</param>
    /// <param name="positions">Positions of an example.</param>
    /// <param name="room">Holds the ranges: <see cref="PerLeaf"/> floats for each of the node's shards.</param>
    /// <param name="origin">The example whose first position is 0.</param>
    public static ReadOnlySpan<KRange> Of(GradientPlan plan, int node, int positions, float* room, int origin = 0)
    {
        ReadOnlySpan<KRange> rows = plan.RangesOf(node);
        if (positions == 1 && origin == 0) return rows;
        var ranges = new Span<KRange>(room, rows.Length);
        for (int i = 0; i < ranges.Length; i++) ranges[i] = new KRange(checked((rows[i].Start - origin) * positions), checked(rows[i].Count * positions));
        return ranges;
    }

    /// <summary>The plan of a training pass.</summary>
    /// <exception cref="InvalidOperationException">The pass has none.</exception>
    public static GradientPlan Shards(StepContext step, string kind) =>
        step.Plan ?? throw new InvalidOperationException($"'{kind}' works shard by shard: give the training pass its plan.");
}
