namespace DistTrain.Kernels.Reference;

/// <summary>Rows of <see cref="Softmax"/>, and of <see cref="SoftmaxCrossEntropy"/> with options, in plain C#.</summary>
internal static unsafe class ReferenceSoftmax
{
    /// <summary>See <see cref="Softmax.Forward"/>; gives Σ exp(x - m), m in <paramref name="max"/>.</summary>
    public static float Forward(ReadOnlySpan<float> x, Span<float> y, out float max)
    {
        max = float.NegativeInfinity;
        foreach (float value in x)
            if (value > max) max = value;
        for (int i = 0; i < x.Length; i++) y[i] = ReferenceFunctions.Exp(x[i] - max);
        float sum = ReferenceReductions.Sum(y);
        for (int i = 0; i < x.Length; i++) y[i] /= sum;
        return sum;
    }

    /// <summary>See <see cref="Softmax.LogForward"/>.</summary>
    public static void LogForward(ReadOnlySpan<float> x, Span<float> y)
    {
        float logarithm = ReferenceFunctions.Log(Forward(x, y, out float max));
        for (int i = 0; i < x.Length; i++) y[i] = x[i] - max - logarithm;
    }

    /// <summary>See <see cref="Softmax.Backward"/> and <see cref="Softmax.LogBackward"/>.</summary>
    public static void Backward(ReadOnlySpan<float> g, ReadOnlySpan<float> y, bool logarithm, Span<float> dx)
    {
        float sum = logarithm ? ReferenceReductions.Sum(g) : ReferenceReductions.Dot(g, y);
        for (int i = 0; i < y.Length; i++)
            dx[i] = logarithm ? MathF.FusedMultiplyAdd(-ReferenceFunctions.Exp(y[i]), sum, g[i]) : y[i] * (g[i] - sum);
    }

    /// <summary>A row with a label; see <see cref="SoftmaxCrossEntropy"/>. Gives the loss.</summary>
    public static float Labelled(ReadOnlySpan<float> x, int label, float smoothing, ReadOnlySpan<float> weights, Span<float> gradient)
    {
        float sum = Forward(x, gradient, out float max), logarithm = ReferenceFunctions.Log(sum);
        float keep = 1 - smoothing, share = smoothing / x.Length;
        float atLabel = keep * (weights.IsEmpty ? 1 : weights[label]);
        float total = weights.IsEmpty ? x.Length : ReferenceReductions.Sum(weights);
        var heights = new float[x.Length];
        for (int i = 0; i < x.Length; i++) heights[i] = x[i] - max;
        float depth = weights.IsEmpty ? ReferenceReductions.Sum(heights) : ReferenceReductions.Dot(weights, heights);
        float loss = atLabel * (logarithm - heights[label]);
        if (share != 0) loss += share * ((total * logarithm) - depth);
        float mass = MathF.FusedMultiplyAdd(share, total, atLabel);
        for (int i = 0; i < x.Length; i++) gradient[i] = MathF.FusedMultiplyAdd(mass, gradient[i], -share * (weights.IsEmpty ? 1 : weights[i]));
        gradient[label] -= atLabel;
        return loss;
    }

    /// <summary>A row with a distribution; see <see cref="SoftmaxCrossEntropy.RunSoft"/>. Gives the loss.</summary>
    public static float Soft(ReadOnlySpan<float> x, ReadOnlySpan<float> target, float smoothing, ReadOnlySpan<float> weights, Span<float> gradient)
    {
        float logarithm = ReferenceFunctions.Log(Forward(x, gradient, out float max));
        float[] q = target.ToArray(), heights = new float[x.Length];
        for (int i = 0; i < q.Length; i++)
        {
            if (smoothing != 0) q[i] = MathF.FusedMultiplyAdd(1 - smoothing, q[i], smoothing / x.Length);
            if (!weights.IsEmpty) q[i] *= weights[i];
            heights[i] = q[i] == 0 ? 0 : x[i] - max;
        }
        float mass = ReferenceReductions.Sum(q);
        for (int i = 0; i < q.Length; i++) gradient[i] = MathF.FusedMultiplyAdd(mass, gradient[i], -q[i]);
        return MathF.FusedMultiplyAdd(mass, logarithm, -ReferenceReductions.Dot(q, heights));
    }
}
