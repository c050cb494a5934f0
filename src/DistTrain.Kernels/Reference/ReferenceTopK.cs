namespace DistTrain.Kernels.Reference;

/// <summary>The naive form of <see cref="TopKBlocks"/>: sorts.</summary>
internal static class ReferenceTopK
{
    /// <summary>What is sent of values from the start of a block, as a vector with +0 elsewhere; the rest stays in <paramref name="heldBack"/>.</summary>
    public static float[] Select(double fraction, ReadOnlySpan<float> x, Span<float> heldBack)
    {
        var sent = new float[x.Length];
        for (int start = 0; start < x.Length; start += TopKBlocks.Block)
        {
            int count = Math.Min(TopKBlocks.Block, x.Length - start);
            float[] y = new float[count];
            for (int i = 0; i < count; i++) y[i] = x[start + i] + heldBack[start + i];
            y.CopyTo(heldBack[start..]);
            foreach (int i in Enumerable.Range(0, count).OrderByDescending(i => Size(y[i])).ThenBy(i => i).Take(TopKBlocks.Count(fraction, count)))
            {
                (sent[start + i], heldBack[start + i]) = (y[i], 0);
            }
        }

        return sent;
    }

    private static float Size(float y) => float.IsNaN(y) ? float.PositiveInfinity : Math.Abs(y);
}
