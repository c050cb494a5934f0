namespace DistTrain.Kernels;

/// <summary>What happens to rows that no formula touches.</summary>
internal static unsafe class Rows
{
    public static void Clear(float* row, nint length) => new Span<float>(row, checked((int)length)).Clear();

    public static void Copy(float* source, float* target, nint length)
    {
        if (source != target) new ReadOnlySpan<float>(source, checked((int)length)).CopyTo(new Span<float>(target, checked((int)length)));
    }
}
