namespace DistTrain.Kernels.Reference;

/// <summary>Rows of <see cref="ElementLosses"/>, <see cref="KlDivergence"/> and <see cref="MultiClassHinge"/>, in plain C#.</summary>
internal static class ReferenceLosses
{
    /// <summary>An element's loss joined to a sum, and its gradient.</summary>
    public delegate (float Sum, float Gradient) Element(float prediction, float target, float sum);

    public static (float Sum, float Gradient) HalfSquared(float p, float t, float sum) =>
        (MathF.FusedMultiplyAdd((p - t) * 0.5f, p - t, sum), p - t);

    public static (float Sum, float Gradient) Absolute(float p, float t, float sum)
    {
        float d = p - t;
        return (sum + MathF.Abs(d), d > 0 ? 1 : d < 0 ? -1 : d);
    }

    public static Element Huber(float delta) => (p, t, sum) =>
    {
        float d = p - t, g = d > delta ? delta : d < -delta ? -delta : d;
        return (MathF.FusedMultiplyAdd(g, MathF.FusedMultiplyAdd(-0.5f, g, d), sum), g);
    };

    public static (float Sum, float Gradient) BinaryCrossEntropy(float p, float t, float sum)
    {
        float tail = ReferenceFunctions.Log1p(ReferenceFunctions.Exp(-MathF.Abs(p)));
        return (sum + (MathF.FusedMultiplyAdd(0 - p, t, p > 0 ? p : 0) + tail), ReferenceFunctions.Sigmoid(p) - t);
    }

    public static Element Hinge(float margin) => (p, t, sum) =>
    {
        float v = MathF.FusedMultiplyAdd(0 - t, p, margin);
        return (sum + (v < 0 ? 0 : v), v > 0 ? 0 - t : 0);
    };

    /// <summary>A row; gives the loss.</summary>
    public static float Row(Element element, ReadOnlySpan<float> prediction, ReadOnlySpan<float> target, Span<float> gradient)
    {
        Span<float> lanes = stackalloc float[16];
        lanes.Clear();
        for (int i = 0; i < prediction.Length; i++) (lanes[i % 16], gradient[i]) = element(prediction[i], target[i], lanes[i % 16]);
        return ReferenceReductions.Sum(lanes);
    }

    /// <summary>See <see cref="KlDivergence"/>.</summary>
    public static float Divergence(ReadOnlySpan<float> x, ReadOnlySpan<float> target, Span<float> gradient)
    {
        float crossEntropy = ReferenceSoftmax.Soft(x, target, 0, [], gradient);
        var logarithms = new float[x.Length];
        for (int i = 0; i < x.Length; i++) logarithms[i] = target[i] == 0 ? 0 : ReferenceFunctions.Log(target[i]);
        return crossEntropy + ReferenceReductions.Dot(target, logarithms);
    }

    /// <summary>See <see cref="MultiClassHinge"/>.</summary>
    public static float MultiClassHinge(ReadOnlySpan<float> x, int label, float margin, Span<float> gradient)
    {
        float shift = margin - x[label];
        var losses = new float[x.Length];
        for (int i = 0; i < x.Length; i++)
        {
            float v = i == label ? 0 : x[i] + shift;
            losses[i] = v < 0 ? 0 : v;
            gradient[i] = v > 0 ? 1 : 0;
        }
        gradient[label] = -ReferenceReductions.Sum(gradient);
        return ReferenceReductions.Sum(losses);
    }
}
