using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Softmax cross-entropy with smoothing, class weights, an ignored label or soft labels: see
/// <see cref="SoftmaxCrossEntropy"/>. Labels or targets are null, whichever it is not.
/// </summary>
internal unsafe struct WeightedCrossEntropyKernel : IRangeKernel
{
    public float* Logits;
    public int* Labels;
    public float* Targets;
    public nint Classes;
    public float* ClassWeights;
    public float* Losses;
    public float* RowWeights;
    public float* Gradient;
    public byte* Correct;

    /// <summary>Whether a label is ignored, and which.</summary>
    private bool _ignores;
    private int _ignored;

    /// <summary>1 - ε, ε / classes, and Σ w.</summary>
    private float _keep;
    private float _share;
    private float _weightSum;

    public static WeightedCrossEntropyKernel Create(
        float* logits, nint rows, nint classes, in CrossEntropyOptions options, float* losses, float* gradient)
    {
        float smoothing = options.LabelSmoothing;
        ArgumentOutOfRangeException.ThrowIfNegative(smoothing, nameof(options));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(smoothing, 1, nameof(options));
        if (options.ClassWeights != null && gradient != null) Guard.Apart(gradient, rows * classes, options.ClassWeights, classes);
        return new WeightedCrossEntropyKernel
        {
            Logits = logits,
            Classes = classes,
            ClassWeights = options.ClassWeights,
            Losses = losses,
            Gradient = gradient,
            _ignores = options.IgnoredLabel.HasValue,
            _ignored = options.IgnoredLabel.GetValueOrDefault(),
            _keep = 1 - smoothing,
            _share = smoothing / classes,
            _weightSum = options.ClassWeights == null ? classes : Reductions.Sum(options.ClassWeights, classes),
        };
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        for (nint row = begin; row < end; row++)
        {
            if (Targets != null) SoftRow<T>(row);
            else if (_ignores && Labels[row] == _ignored) IgnoredRow(row);
            else LabelledRow<T>(row);
        }
    }

    private readonly void IgnoredRow(nint row)
    {
        Losses[row] = 0;
        if (RowWeights != null) RowWeights[row] = 0;
        if (Correct != null) Correct[row] = 0;
        if (Gradient != null) Elementwise.Fill(Gradient + (row * Classes), Classes, 0);
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private readonly void LabelledRow<T>(nint row)
        where T : struct, ILanes<T>
    {
        float* x = Logits + (row * Classes);
        float* gradient = Gradient == null ? null : Gradient + (row * Classes);
        int label = Labels[row];
        float weight = ClassWeights == null ? 1f : ClassWeights[label];
        float max = SoftmaxRow.Max<T>(x, Classes);
        float height = x[label] - max;
        bool first = Correct != null && CrossEntropyKernel.IsFirstMax(x, Classes, label, max);
        float depth = _share != 0 ? WeightedHeights(x, ClassWeights, T.Broadcast(max)) : 0;
        T total = T.Broadcast(SoftmaxRow.Exponentials<T>(x, gradient, Classes, max));
        float logarithm = T.First(LaneMath.Log(total));
        float atLabel = _keep * weight;
        float loss = atLabel * (logarithm - height);
        if (_share != 0) loss += _share * ((_weightSum * logarithm) - depth);
        Losses[row] = loss;
        if (RowWeights != null) RowWeights[row] = weight;
        if (Correct != null) Correct[row] = CrossEntropyKernel.Flag(first, max, T.First(total));
        if (gradient == null) return;
        T mass = T.Broadcast(MathF.FusedMultiplyAdd(_share, _weightSum, atLabel));
        T minusShare = T.Broadcast(-_share);
        for (nint i = 0; i < Classes; i += 16)
        {
            int count = (int)Math.Min(16, Classes - i);
            T q = ClassWeights == null ? minusShare : minusShare * T.LoadPartial(ClassWeights + i, count);
            T p = T.LoadPartial(gradient + i, count) / total;
            T.StorePartial(gradient + i, T.Fma(mass, p, q), count);
        }
        gradient[label] -= atLabel;
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private readonly void SoftRow<T>(nint row)
        where T : struct, ILanes<T>
    {
        float* x = Logits + (row * Classes);
        float* target = Targets + (row * Classes);
        float* gradient = Gradient == null ? null : Gradient + (row * Classes);
        float largest = SoftmaxRow.Max<T>(x, Classes);
        T max = T.Broadcast(largest);
        T mass = T.Zero, depth = T.Zero;
        for (nint i = 0; i < Classes; i += 16)
        {
            int count = (int)Math.Min(16, Classes - i);
            T q = Target<T>(target, i, count);
            mass += q;
            // A class that the target leaves out may have a logit of -∞.
            T there = T.Select(T.Equal(q, T.Zero), T.Zero, T.LoadPartial(x + i, count) - max);
            depth = T.Fma(q, there, depth);
        }
        mass = T.SumInAll(mass);
        T total = T.Broadcast(SoftmaxRow.Exponentials<T>(x, gradient, Classes, largest));
        T loss = T.Fma(mass, LaneMath.Log(total), T.Zero - T.SumInAll(depth));
        Losses[row] = T.First(loss);
        if (gradient == null) return;
        for (nint i = 0; i < Classes; i += 16)
        {
            int count = (int)Math.Min(16, Classes - i);
            T p = T.LoadPartial(gradient + i, count) / total;
            T.StorePartial(gradient + i, T.Fma(mass, p, T.Zero - Target<T>(target, i, count)), count);
        }
    }

    /// <summary>q of 16 classes; +0 beyond the last.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly T Target<T>(float* target, nint i, int count)
        where T : struct, ILanes<T>
    {
        T q = T.LoadPartial(target + i, count);
        if (_share != 0) q = T.And(T.Fma(T.Broadcast(_keep), q, T.Broadcast(_share)), T.FirstLanes(count));
        return ClassWeights == null ? q : q * T.LoadPartial(ClassWeights + i, count);
    }

    /// <summary>Σ w_i (x_i - max).</summary>
    private readonly float WeightedHeights<T>(float* x, float* weights, T max)
        where T : struct, ILanes<T>
    {
        T sum = T.Zero;
        for (nint i = 0; i < Classes; i += 16)
        {
            int count = (int)Math.Min(16, Classes - i);
            T height = T.And(T.LoadPartial(x + i, count) - max, T.FirstLanes(count));
            sum = weights == null ? sum + height : T.Fma(T.LoadPartial(weights + i, count), height, sum);
        }
        return T.Sum(sum);
    }
}
