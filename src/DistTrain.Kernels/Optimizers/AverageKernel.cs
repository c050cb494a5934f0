namespace DistTrain.Kernels;

/// <summary>
/// The exponential moving average of weights (Polyak and Juditsky 1992, with decay): a = decay · a + (1 - decay) · w, computed
/// as fma(1 - decay, w - a, a), so that the average of a weight that stays is that weight, to the bit.
/// </summary>
public static unsafe class AverageKernel
{
    /// <summary>Moves averages towards the weights.</summary>
    /// <param name="decay">How much of the average stays, from 0 to below 1; 1 - decay is rounded to fp32 once.</param>
    /// <param name="average">(length), changed.</param>
    /// <param name="weights">(length), apart from it.</param>
    /// <param name="length">How many elements.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Update(double decay, float* average, float* weights, nint length, KernelPool? pool = null) =>
        Traversal.Binary(new ApproachOperator((float)(1 - decay)), weights, average, average, length, pool);
}
