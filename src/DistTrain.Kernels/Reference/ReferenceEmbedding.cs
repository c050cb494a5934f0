namespace DistTrain.Kernels.Reference;

/// <summary>See <see cref="Embedding"/>; every leaf is visited, those without a token too.</summary>
internal static class ReferenceEmbedding
{
    public static float Gradient(float[] dy, int stride, int[] ids, KRange[] ranges, int[] leafStarts, int row, int column) =>
        ReferenceGemm.Tree(0, leafStarts.Length - 1, leaf =>
        {
            float sum = 0;
            for (int r = leafStarts[leaf]; r < leafStarts[leaf + 1]; r++)
                for (int token = ranges[r].Start; token < ranges[r].Start + ranges[r].Count; token++)
                    if (ids[token] == row) sum += dy[(token * stride) + column];
            return sum;
        });
}
