namespace DistTrain.Kernels.Reference;

/// <summary>Attention of one query at a time, in the order that <see cref="Attention"/> documents.</summary>
internal static unsafe class ReferenceAttention
{
    /// <summary>See <see cref="Attention.Forward"/>.</summary>
    public static void Forward(AttentionShape s, HeadsView q, HeadsView k, HeadsView v, HeadsView o, float* logarithms)
    {
        var p = new float[Attention.KeyBlock];
        for (int item = 0; item < s.Batch * s.Heads * s.Queries; item++)
        {
            int i = (int)(item % s.Queries), head = (int)(item / s.Queries % s.Heads), example = (int)(item / s.Queries / s.Heads);
            float* output = Row(o, example, head, i);
            int start = Start(s, i), limit = Limit(s, example, i);
            float m = float.NegativeInfinity, l = 0;
            for (int e = 0; e < s.Width; e++) output[e] = 0;
            for (int j0 = start; j0 < limit; j0 += Attention.KeyBlock)
            {
                int count = Math.Min(Attention.KeyBlock, limit - j0);
                float largest = float.NegativeInfinity;
                for (int j = 0; j < count; j++)
                {
                    p[j] = Sees(s, i, j0 + j) ? Dot(Row(k, example, head, j0 + j), Row(q, example, head, i), s.Width) : float.NegativeInfinity;
                    if (p[j] > largest) largest = p[j];
                }
                float max = largest * s.Scale > m ? largest * s.Scale : m;
                float shift = max == float.NegativeInfinity ? 0 : max;
                float correction = ReferenceFunctions.Exp(m - shift);
                l *= correction;
                for (int j = 0; j < count; j++)
                {
                    p[j] = ReferenceFunctions.Exp(MathF.FusedMultiplyAdd(p[j], s.Scale, -shift));
                    l += p[j];
                }
                for (int j = 0; j < count; j++) p[j] = Keeps(s, example, head, i, j0 + j) ? p[j] : 0;
                for (int e = 0; e < s.Width; e++)
                {
                    if (j0 > start) output[e] *= correction;
                    for (int j = 0; j < count; j++) output[e] = MathF.FusedMultiplyAdd(p[j], Row(v, example, head, j0 + j)[e], output[e]);
                }
                m = max;
            }
            bool empty = m == float.NegativeInfinity;
            for (int e = 0; e < s.Width; e++) output[e] *= 1 / (empty ? 1 : l) * Scale(s);
            logarithms[item] = empty ? float.PositiveInfinity : m + ReferenceFunctions.Log(l);
        }
    }

    /// <summary>See <see cref="Attention.Backward"/>.</summary>
    public static void Backward(
        AttentionShape s, HeadsView q, HeadsView k, HeadsView v, HeadsView o, float* logarithms, HeadsView dO, HeadsView dq, HeadsView dk, HeadsView dv)
    {
        for (int head = 0; head < s.Batch * s.Heads; head++)
        {
            int h = (int)(head % s.Heads), b = (int)(head / s.Heads);
            for (int j = 0; j < s.Keys; j++) Clear(Row(dk, b, h, j), Row(dv, b, h, j), s.Width);
            for (int i = 0; i < s.Queries; i++)
            {
                float* g = Row(dO, b, h, i), query = Row(q, b, h, i), result = Row(dq, b, h, i);
                Clear(result, result, s.Width);
                float product = ReferenceReductions.Dot(new(g, (int)s.Width), new(Row(o, b, h, i), (int)s.Width));
                for (int j = Start(s, i); j < Limit(s, b, i); j++)
                {
                    float* key = Row(k, b, h, j), keyGradient = Row(dk, b, h, j), valueGradient = Row(dv, b, h, j);
                    float weight = 0, score = 0;
                    if (Sees(s, i, j))
                    {
                        float r = Dot(query, key, s.Width);
                        weight = ReferenceFunctions.Exp(MathF.FusedMultiplyAdd(r, s.Scale, -logarithms[(head * s.Queries) + i]));
                        bool keeps = Keeps(s, b, h, i, j);
                        score = weight * ((keeps ? Dot(g, Row(v, b, h, j), s.Width) * Scale(s) : 0) - product) * s.Scale;
                        weight = keeps ? weight * Scale(s) : 0;
                    }
                    for (int e = 0; e < s.Width; e++)
                    {
                        result[e] = MathF.FusedMultiplyAdd(score, key[e], result[e]);
                        keyGradient[e] = MathF.FusedMultiplyAdd(score, query[e], keyGradient[e]);
                        valueGradient[e] = MathF.FusedMultiplyAdd(weight, g[e], valueGradient[e]);
                    }
                }
            }
        }
    }

    private static bool Sees(in AttentionShape s, int i, int j)
    {
        nint distance = i + s.Offset - j;
        return (!s.Causal || distance >= 0) && (s.Window == 0 || Math.Abs(distance) < s.Window);
    }

    private static bool Keeps(in AttentionShape s, int example, int head, int i, int j)
    {
        AttentionDropout d = s.Dropout;
        ulong step = (((d.Place + (ulong)example) * (ulong)s.Heads) + (ulong)head) * (1UL << 32) + d.Step;
        ulong element = ((ulong)i * (ulong)((s.Keys + 31) / 32 * 32)) + (ulong)j;
        return (d.Random.Bits(step, element) >> 8) >= (double)d.Rate * (1 << 24);
    }

    private static float Scale(in AttentionShape s) => 1 / (1 - s.Dropout.Rate);

    // The last key that a query sees, counted from the query's place.
    private static int Reach(in AttentionShape s) => (int)(s.Causal ? s.Offset : s.Offset + s.Window - 1);

    private static int Start(in AttentionShape s, int i)
    {
        if (s.Window == 0) return 0;
        int first = (int)Math.Floor((i + Reach(s)) / 32.0) * 32;
        return Math.Max((int)(first - Reach(s) + s.Offset - s.Window + 1) / 64 * 64, 0);
    }

    private static int Limit(in AttentionShape s, int example, int i)
    {
        int keys = (int)(s.Lengths == null ? s.Keys : s.Lengths[example]);
        if (!s.Causal && s.Window == 0) return keys;
        int seen = Math.Max(i + Reach(s) + 1, 0);
        return Math.Min((seen + 31) / 32 * 32, keys);
    }

    private static float* Row(HeadsView x, int example, int head, int time) =>
        x.Pointer + (example * x.Batch) + (head * x.Head) + (time * x.Time);

    private static float Dot(float* a, float* b, nint length)
    {
        float sum = 0;
        for (nint i = 0; i < length; i++) sum = MathF.FusedMultiplyAdd(a[i], b[i], sum);
        return sum;
    }

    private static void Clear(float* a, float* b, nint length)
    {
        for (nint i = 0; i < length; i++) a[i] = b[i] = 0;
    }
}
