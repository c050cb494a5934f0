namespace DistTrain.Kernels;

/// <summary>The lane functions for a single float: the same polynomials, so the same bits.</summary>
internal static unsafe class Scalars
{
    public static float Log<T>(float x)
        where T : struct, ILanes<T>
    {
        float result;
        T.StorePartial(&result, LaneMath.Log(T.Broadcast(x)), 1);
        return result;
    }
}
