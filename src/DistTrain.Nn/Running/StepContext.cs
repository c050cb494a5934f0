using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>What layers see of the pass that runs; one per <see cref="ModelRun"/>, refilled for every call.</summary>
internal sealed unsafe class StepContext(ParameterLayout layout, KernelPool pool)
{
    /// <summary>The threads that kernels may use.</summary>
    public KernelPool Pool { get; } = pool;

    /// <summary>For layers that work (time, rows): the shards' rows in that order.</summary>
    public TimeMajorRanges TimeMajor { get; } = new();

    /// <summary>The flat weight vector.</summary>
    public float* Weights { get; set; }

    /// <summary>Rows of this pass.</summary>
    public int Rows { get; set; }

    /// <summary>Seed, step, and whether this is training.</summary>
    public StepKey Key { get; set; }

    /// <summary>Shards and nodes of these rows; null in a forward pass outside training.</summary>
    public GradientPlan? Plan { get; set; }

    /// <summary>Who hears of finished gradients; null in forward.</summary>
    public IGradientListener? Listener { get; set; }

    /// <summary>The values of a parameter.</summary>
    public float* Weight(Parameter parameter) => Weights + layout.Tensors[parameter.Index].Offset;

    /// <summary>Where the gradient sum of a parameter for node <paramref name="node"/> of the plan goes.</summary>
    public float* Gradient(Parameter parameter, int node) =>
        (float*)Plan!.Gradients[node] + layout.Tensors[parameter.Index].Offset;

    /// <summary>
    /// Says that a parameter's gradient is final for all nodes: clears the padding behind it and announces both.
    /// </summary>
    public void Finished(Parameter parameter)
    {
        TensorEntry tensor = layout.Tensors[parameter.Index];
        long end = EndOf(parameter);
        for (int node = 0; node < Plan!.NodeCount; node++)
        {
            new Span<float>((float*)Plan.Gradients[node] + tensor.End, (int)(end - tensor.End)).Clear();
        }

        Listener!.Ready(tensor.Offset, end);
    }

    /// <summary>
    /// A matrix's gradient dYᵀ·X over (time, rows of the pass), one position or several of each row: where the plan rounds, packed
    /// into its sums and announced, if the kernel can. False for what is left to do node by node.
    /// </summary>
    public bool TryPackMatrixGradient(Parameter weight, float* dy, int outputs, float* x, int inputs, int positions)
    {
        GradientPlan plan = Plan!;
        if (plan.Rounding == FloatFormat.Float32) return false;
        TensorEntry tensor = layout.Tensors[weight.Index];
        long end = EndOf(weight);
        int size = plan.Rounding.Size();
        for (int sum = 0; sum < plan.SumCount; sum++)
        {
            byte* values = (byte*)plan.Sums[sum] + (tensor.Offset * size);
            if (!SegmentedGemm.TryRoundedWeightGradient(
                dy, outputs, x, inputs, outputs, inputs, plan.RangesOfSum(sum, positions), plan.LeafStartsOfSum(sum), plan.Rounding, values, inputs, Pool))
            {
                return false;
            }

            new Span<byte>(values + (tensor.Length * size), (int)(end - tensor.End) * size).Clear();
        }

        Listener!.ReadyPacked(tensor.Offset, end);
        return true;
    }

    // Where the padding behind a parameter ends.
    private long EndOf(Parameter parameter) =>
        parameter.Index + 1 < layout.Tensors.Length ? layout.Tensors[parameter.Index + 1].Offset : layout.Length;
}
