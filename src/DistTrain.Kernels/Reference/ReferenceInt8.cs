namespace DistTrain.Kernels.Reference;

/// <summary>The naive form of <see cref="Int8Blocks"/>, value by value.</summary>
internal static class ReferenceInt8
{
    /// <summary>Scales and integers of values from the start of a block.</summary>
    public static (float[] Scales, sbyte[] Integers) Quantise(KeyedRandom random, ulong step, uint firstBlock, ReadOnlySpan<float> x)
    {
        var scales = new float[(x.Length + Int8Blocks.Block - 1) / Int8Blocks.Block];
        var integers = new sbyte[x.Length];
        for (int block = 0; block < scales.Length; block++)
        {
            int start = block * Int8Blocks.Block, end = Math.Min(start + Int8Blocks.Block, x.Length);
            float most = 0;
            bool finite = true;
            for (int i = start; i < end; i++)
            {
                most = Math.Max(most, Math.Abs(x[i]));
                finite &= float.IsFinite(x[i]);
            }

            scales[block] = finite ? most / 127 : float.NaN;
            if (!finite || most == 0) continue;
            for (int i = start; i < end; i++) integers[i] = One(random, step, firstBlock + (uint)block, i - start, x[i], most);
        }

        return (scales, integers);
    }

    /// <summary>The value that an integer stands for.</summary>
    public static float Value(float scale, sbyte integer) => integer * scale;

    private static sbyte One(KeyedRandom random, ulong step, uint block, int i, float x, float most)
    {
        float small = most < 1f / (1L << 60) ? 16f * (1L << 60) : 1;
        float t = x * small * (127 / (most * small));
        t = Math.Clamp(t, -127f, 127f);
        int group = i / 64, vector = i % 64 / 16, lane = i % 16;
        KeyedRandom.Words words = random.Block(step, (512 * (ulong)block) + (8 * (ulong)group) + (ulong)(lane / 2));
        uint word = words[(2 * (vector / 2)) + (lane % 2)];
        uint half = vector % 2 == 0 ? word & 0xFFFF : word >> 16;
        float r = (half * (1f / 65536)) + ((0.5f / 65536) - 0.5f);
        return (sbyte)MathF.Round(t + r, MidpointRounding.ToEven);
    }
}
