namespace DistTrain.Kernels.Reference;

/// <summary>See <see cref="Prelu"/>.</summary>
internal static class ReferencePrelu
{
    public static float SlopeGradient(float[] dy, float[] x, int channels, int inner, int channel, KRange[] ranges, int[] leafStarts) =>
        ReferenceGemm.Tree(0, leafStarts.Length - 1, leaf =>
        {
            var lanes = new float[16];
            for (int r = leafStarts[leaf]; r < leafStarts[leaf + 1]; r++)
            {
                for (int row = ranges[r].Start; row < ranges[r].Start + ranges[r].Count; row++)
                {
                    for (int i = 0; i < inner; i++)
                    {
                        int at = (((row * channels) + channel) * inner) + i;
                        if (!(x[at] > 0)) lanes[i % 16] = MathF.FusedMultiplyAdd(dy[at], x[at], lanes[i % 16]);
                    }
                }
            }
            for (int half = 8; half > 0; half /= 2)
                for (int i = 0; i < half; i++)
                    lanes[i] += lanes[i + half];
            return lanes[0];
        });
}
