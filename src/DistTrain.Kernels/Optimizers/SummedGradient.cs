namespace DistTrain.Kernels;

/// <summary>
/// What an optimizer's step reads: the gradient's sum over the mini-batch, and how it becomes a mean. Per element
/// g = (sum / total weight) · scale, both in fp32, the factor left out where it is 1.
/// </summary>
/// <param name="values">(length) sums, in <paramref name="format"/>.</param>
/// <param name="totalWeight">What the sum is divided by; not 0.</param>
/// <param name="format">What the sums are stored in.</param>
/// <param name="scale">A clip's factor; 1 for none.</param>
public readonly unsafe struct SummedGradient(void* values, float totalWeight, FloatFormat format = FloatFormat.Float32, float scale = 1)
{
    /// <summary>(length) sums, in <see cref="Format"/>.</summary>
    public void* Values { get; } = values;

    /// <summary>What the sum is divided by.</summary>
    public float TotalWeight { get; } = totalWeight;

    /// <summary>What the sums are stored in.</summary>
    public FloatFormat Format { get; } = format;

    /// <summary>A clip's factor.</summary>
    public float Scale { get; } = scale;
}
