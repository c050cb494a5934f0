namespace DistTrain.Kernels.Reference;

/// <summary>Sixteen lanes and the fixed tree, in plain C#, and the losses that reduce rows with them.</summary>
internal static class ReferenceReductions
{
    public static float Sum(ReadOnlySpan<float> x)
    {
        Span<float> lanes = stackalloc float[16];
        lanes.Clear();
        for (int i = 0; i < x.Length; i++) lanes[i % 16] += x[i];
        return Join(lanes);
    }

    /// <summary>Σ fma(a_i, b_i).</summary>
    public static float Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        Span<float> lanes = stackalloc float[16];
        lanes.Clear();
        for (int i = 0; i < a.Length; i++) lanes[i % 16] = MathF.FusedMultiplyAdd(a[i], b[i], lanes[i % 16]);
        return Join(lanes);
    }

    public static float Max(ReadOnlySpan<float> x)
    {
        float max = float.NegativeInfinity;
        foreach (float value in x) max = MathF.Max(max, value);
        return max;
    }

    /// <summary>See <see cref="SoftmaxCrossEntropy"/>.</summary>
    public static (float Loss, bool Correct) SoftmaxCrossEntropyRow(ReadOnlySpan<float> x, int label, Span<float> gradient)
    {
        float max = Max(x);
        for (int i = 0; i < x.Length; i++) gradient[i] = ReferenceFunctions.Exp(x[i] - max);
        float sum = Sum(gradient);
        for (int i = 0; i < x.Length; i++) gradient[i] /= sum;
        gradient[label] -= 1f;
        int first = x.IndexOf(max);
        return (ReferenceFunctions.Log(sum) - (x[label] - max), first == label && !float.IsNaN(max));
    }

    /// <summary>See <see cref="SquaredError"/>.</summary>
    public static float SquaredErrorRow(ReadOnlySpan<float> prediction, ReadOnlySpan<float> target, Span<float> gradient)
    {
        Span<float> lanes = stackalloc float[16];
        lanes.Clear();
        for (int i = 0; i < prediction.Length; i++)
        {
            float d = prediction[i] - target[i];
            lanes[i % 16] = MathF.FusedMultiplyAdd(d, d, lanes[i % 16]);
            gradient[i] = d + d;
        }
        return Join(lanes);
    }

    private static float Join(Span<float> lanes)
    {
        for (int half = 8; half > 0; half /= 2)
            for (int i = 0; i < half; i++)
                lanes[i] += lanes[i + half];
        return lanes[0];
    }
}
