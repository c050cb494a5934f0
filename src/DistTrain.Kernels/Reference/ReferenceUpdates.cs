namespace DistTrain.Kernels.Reference;

/// <summary>The optimizers' rules for one parameter, in plain C#.</summary>
internal static class ReferenceUpdates
{
    /// <summary>See <see cref="SgdKernel"/>.</summary>
    public static void Sgd(SgdStep step, ref float w, ref float v, float gradientSum, float total)
    {
        float g = gradientSum / total;
        if (step.WeightDecay != 0) g = MathF.FusedMultiplyAdd((float)step.WeightDecay, w, g);
        if (step.Momentum != 0)
        {
            v = MathF.FusedMultiplyAdd((float)step.Momentum, v, g);
            g = step.Nesterov ? MathF.FusedMultiplyAdd((float)step.Momentum, v, g) : v;
        }
        w = MathF.FusedMultiplyAdd(-(float)step.LearningRate, g, w);
    }

    /// <summary>See <see cref="AverageKernel"/>.</summary>
    public static void Average(double decay, ref float a, float w) => a = MathF.FusedMultiplyAdd((float)(1 - decay), w - a, a);

    /// <summary>See <see cref="AdamKernel"/>.</summary>
    public static void Adam(AdamStep step, ref float w, ref float m, ref float v, float gradientSum, float total)
    {
        float g = gradientSum / total;
        if (step.WeightDecay != 0 && !step.Decoupled) g = MathF.FusedMultiplyAdd((float)step.WeightDecay, w, g);
        if (step.WeightDecay != 0 && step.Decoupled) w *= (float)(1 - (step.LearningRate * step.WeightDecay));
        m = MathF.FusedMultiplyAdd((float)(1 - step.Beta1), g - m, m);
        v = MathF.FusedMultiplyAdd((float)step.Beta2, v, (float)(1 - step.Beta2) * (g * g));
        float denominator = MathF.FusedMultiplyAdd(MathF.Sqrt(v), (float)(1 / Math.Sqrt(step.BiasCorrection2)), (float)step.Epsilon);
        w = MathF.FusedMultiplyAdd(-(float)(step.LearningRate / step.BiasCorrection1), m / denominator, w);
    }

    /// <summary>See <see cref="RmsPropKernel"/>; v, b and a are the squares, the momentum and the means.</summary>
    public static void RmsProp(RmsPropStep step, ref float w, ref float v, ref float b, ref float a, float gradientSum, float total)
    {
        float g = gradientSum / total, gain = (float)(1 - step.Decay);
        if (step.WeightDecay != 0) g = MathF.FusedMultiplyAdd((float)step.WeightDecay, w, g);
        v = MathF.FusedMultiplyAdd((float)step.Decay, v, gain * (g * g));
        float variance = v;
        if (step.Centered)
        {
            a = MathF.FusedMultiplyAdd(gain, g - a, a);
            variance = MathF.FusedMultiplyAdd(-a, a, v);
        }
        float direction = g / (MathF.Sqrt(variance) + (float)step.Epsilon);
        if (step.Momentum != 0) direction = b = MathF.FusedMultiplyAdd((float)step.Momentum, b, direction);
        w = MathF.FusedMultiplyAdd(-(float)step.LearningRate, direction, w);
    }

    /// <summary>See <see cref="AdagradKernel"/>.</summary>
    public static void Adagrad(AdagradStep step, ref float w, ref float v, float gradientSum, float total)
    {
        float g = gradientSum / total;
        if (step.WeightDecay != 0) g = MathF.FusedMultiplyAdd((float)step.WeightDecay, w, g);
        v = MathF.FusedMultiplyAdd(g, g, v);
        w = MathF.FusedMultiplyAdd(-(float)step.LearningRate, g / (MathF.Sqrt(v) + (float)step.Epsilon), w);
    }

    /// <summary>See <see cref="LionKernel"/>.</summary>
    public static void Lion(LionStep step, ref float w, ref float m, float gradientSum, float total)
    {
        float g = gradientSum / total, rate = (float)step.LearningRate;
        if (step.WeightDecay != 0) w *= (float)(1 - (step.LearningRate * step.WeightDecay));
        float c = MathF.FusedMultiplyAdd((float)(1 - step.Beta1), g - m, m);
        w -= c > 0 ? rate : c < 0 ? -rate : c;
        m = MathF.FusedMultiplyAdd((float)(1 - step.Beta2), g - m, m);
    }

    /// <summary>See <see cref="LarsKernel"/>.</summary>
    public static void Lars(LarsStep step, double trust, ref float w, ref float v, float gradientSum, float total)
    {
        float g = gradientSum / total;
        if (step.WeightDecay != 0) g = MathF.FusedMultiplyAdd((float)step.WeightDecay, w, g);
        v = MathF.FusedMultiplyAdd((float)step.Momentum, v, (float)(step.LearningRate * trust) * g);
        w -= v;
    }

    /// <summary>See <see cref="LambKernel.Direction"/>.</summary>
    public static float LambDirection(AdamStep step, float w, ref float m, ref float v, float gradientSum, float total)
    {
        float g = gradientSum / total;
        m = MathF.FusedMultiplyAdd((float)(1 - step.Beta1), g - m, m);
        v = MathF.FusedMultiplyAdd((float)step.Beta2, v, (float)(1 - step.Beta2) * (g * g));
        float denominator = MathF.FusedMultiplyAdd(MathF.Sqrt(v), (float)(1 / Math.Sqrt(step.BiasCorrection2)), (float)step.Epsilon);
        float direction = m / denominator * (float)(1 / step.BiasCorrection1);
        return step.WeightDecay == 0 ? direction : MathF.FusedMultiplyAdd((float)step.WeightDecay, w, direction);
    }

    /// <summary>See <see cref="BlockNorms"/>: one block.</summary>
    public static float SumOfSquares(ReadOnlySpan<float> block)
    {
        Span<float> lanes = stackalloc float[16];
        lanes.Clear();
        for (int i = 0; i < block.Length; i++) lanes[i % 16] = MathF.FusedMultiplyAdd(block[i], block[i], lanes[i % 16]);
        for (int half = 8; half > 0; half /= 2)
            for (int i = 0; i < half; i++)
                lanes[i] += lanes[i + half];
        return lanes[0];
    }
}
