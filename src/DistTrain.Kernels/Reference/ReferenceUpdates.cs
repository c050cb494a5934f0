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

    /// <summary>See <see cref="AdamKernel"/>.</summary>
    public static void Adam(AdamStep step, ref float w, ref float m, ref float v, float gradientSum, float total)
    {
        float g = gradientSum / total;
        if (step.WeightDecay != 0 && !step.Decoupled) g = MathF.FusedMultiplyAdd((float)step.WeightDecay, w, g);
        if (step.WeightDecay != 0 && step.Decoupled) w *= (float)(1 - (step.LearningRate * step.WeightDecay));
        m = MathF.FusedMultiplyAdd((float)(1 - step.Beta1), g - m, m);
        v = MathF.FusedMultiplyAdd((float)step.Beta2, v, (float)(1 - step.Beta2) * (g * g));
        float denominator = (MathF.Sqrt(v) / (float)Math.Sqrt(step.BiasCorrection2)) + (float)step.Epsilon;
        w = MathF.FusedMultiplyAdd(-(float)(step.LearningRate / step.BiasCorrection1), m / denominator, w);
    }
}
