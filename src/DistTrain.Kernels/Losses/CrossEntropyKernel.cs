using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Softmax cross-entropy with plain labels: see <see cref="SoftmaxCrossEntropy"/>. Rows go in groups of up to 16, whose
/// logarithms are taken at once; rows of at most 16 classes never leave their register.
/// </summary>
internal unsafe struct CrossEntropyKernel : IRangeKernel
{
    /// <summary>Rows of a group.</summary>
    public const int Group = 16;

    public float* Logits;
    public int* Labels;
    public nint Classes;
    public float* Losses;
    public float* Gradient;
    public byte* Correct;

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        // Of each row of the group: the sum, and x_label - max.
        float* sums = stackalloc float[2 * Group];
        float* heights = sums + Group;
        for (nint first = begin; first < end; first += Group)
        {
            int count = (int)Math.Min(Group, end - first);
            if (Classes <= 16)
                for (int r = 0; r < count; r++) ShortRow<T>(first + r, sums + r, heights + r);
            else
                for (int r = 0; r < count; r++) LongRow<T>(first + r, sums + r, heights + r);
            T losses = LaneMath.Log(T.LoadPartial(sums, count)) - T.LoadPartial(heights, count);
            T.StorePartial(Losses + first, losses, count);
        }
    }

    /// <summary>
    /// Whether the label is the first of the largest values and none is NaN. What <see cref="SoftmaxRow.Max"/> found
    /// does not tell of a NaN; with a finite maximum the row's sum does, so that is left to the caller.
    /// </summary>
    public static bool IsFirstMax(float* x, nint length, int label, float max)
    {
        if (x[label] != max) return false;
        for (int i = 0; i < label; i++)
            if (x[i] == max) return false;
        if (float.IsFinite(max)) return true;
        for (nint i = 0; i < length; i++)
            if (float.IsNaN(x[i])) return false;
        return true;
    }

    /// <summary>The flag of a row: <paramref name="first"/> from <see cref="IsFirstMax"/>, and the row's maximum and sum.</summary>
    public static byte Flag(bool first, float max, float sum) => first && !(float.IsNaN(sum) && float.IsFinite(max)) ? (byte)1 : (byte)0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly void ShortRow<T>(nint row, float* sum, float* height)
        where T : struct, ILanes<T>
    {
        int classes = (int)Classes;
        float* x = Logits + (row * classes);
        int label = Labels[row];
        T present = T.FirstLanes(classes);
        T v = T.LoadPartial(x, classes);
        T max = T.LargestInAll(T.Greater(T.Select(present, v, T.Broadcast(float.NegativeInfinity)), T.Broadcast(float.NegativeInfinity)));
        T e = T.And(LaneMath.ExpUpTo89(v - max), present);
        T total = T.SumInAll(e);
        *sum = T.First(total);
        *height = x[label] - T.First(max);
        if (Correct != null) Correct[row] = Flag(IsFirstMax(x, classes, label, T.First(max)), T.First(max), T.First(total));
        if (Gradient == null) return;
        T here = T.Xor(T.FirstLanes(label + 1), T.FirstLanes(label));
        T.StorePartial(Gradient + (row * classes), (e / total) - T.And(here, T.Broadcast(1f)), classes);
    }

    private readonly void LongRow<T>(nint row, float* sum, float* height)
        where T : struct, ILanes<T>
    {
        nint classes = Classes;
        float* x = Logits + (row * classes);
        float* gradient = Gradient == null ? null : Gradient + (row * classes);
        int label = Labels[row];
        float max = SoftmaxRow.Max<T>(x, classes);
        *height = x[label] - max;
        // Before the gradient, which may be the logits themselves, is written.
        bool first = Correct != null && IsFirstMax(x, classes, label, max);
        float total = SoftmaxRow.Exponentials<T>(x, gradient, classes, max);
        *sum = total;
        if (Correct != null) Correct[row] = Flag(first, max, total);
        if (gradient == null) return;
        SoftmaxRow.Divide<T>(gradient, gradient, classes, total);
        gradient[label] -= 1f;
    }
}
