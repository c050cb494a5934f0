namespace DistTrain.Kernels;

/// <summary>
/// Layer normalisation (Ba, Kiros and Hinton, 2016) of the rows of a (rows, features) array. With u = 1 / features, all
/// sums over a row in 16 lanes and the fixed tree (<see cref="Reductions"/>): mean = (Σ x_i)·u; the variance in a second
/// pass over the row, which is in the L1 cache, v = (Σ fma(d_i, d_i))·u with d_i = x_i - mean; r = 1 / √(v + ε);
/// y_i = fma(n_i, γ_i, β_i) with n_i = (x_i - mean)·r. Rows are independent of each other.
/// </summary>
/// <remarks>
/// Backward: t_i = dy_i·γ_i; a = (Σ t_i)·u; b = (Σ fma(t_i, n_i))·u; dx_i = fma(-n_i, b, t_i - a)·r. Of a parameter's
/// gradient a leaf is a chain over its rows in the order given, dγ_i by fma(dy_i, n_i) and dβ_i by + dy_i, from +0; leaves
/// join as <see cref="SegmentedGemm"/> says.
/// </remarks>
public static unsafe class LayerNorm
{
    /// <summary>y = norm of every row of x.</summary>
    /// <param name="x">(rows, features), row-major.</param>
    /// <param name="rows">How many rows.</param>
    /// <param name="features">How many values a row has, at least 1.</param>
    /// <param name="scale">(features): γ.</param>
    /// <param name="shift">(features): β.</param>
    /// <param name="epsilon">ε, at least 0.</param>
    /// <param name="y">(rows, features); may be x.</param>
    /// <param name="means">(rows): receives the means, for the backward pass.</param>
    /// <param name="reciprocals">(rows): receives r, for the backward pass.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Forward(
        float* x,
        nint rows,
        nint features,
        float* scale,
        float* shift,
        float epsilon,
        float* y,
        float* means,
        float* reciprocals,
        KernelPool? pool = null)
    {
        Guard.NotNull(shift, rows, nameof(shift));
        Guard.NotNull(means, rows, nameof(means));
        RowNorm.Forward<LayerStyle>(x, rows, features, scale, shift, epsilon, y, means, reciprocals, pool);
    }

    /// <summary>The gradients of x and of both parameters from that of y.</summary>
    /// <param name="dy">(rows, features).</param>
    /// <param name="x">(rows, features): the forward pass's input.</param>
    /// <param name="features">How many values a row has.</param>
    /// <param name="scale">(features): γ.</param>
    /// <param name="means">(rows): from the forward pass.</param>
    /// <param name="reciprocals">(rows): from the forward pass.</param>
    /// <param name="ranges">The rows of all leaves, leaf after leaf; no row twice.</param>
    /// <param name="leafStarts">(leaves + 1): leaf i has ranges [leafStarts[i], leafStarts[i + 1]); at least one leaf.</param>
    /// <param name="dx">(rows, features): receives the rows of all ranges; may be dy or x.</param>
    /// <param name="dScale">(features): receives dγ.</param>
    /// <param name="dShift">(features): receives dβ.</param>
    /// <param name="pool">Null for the caller alone, who then reads everything once; threads read it twice.</param>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges.</exception>
    public static void Backward(
        float* dy,
        float* x,
        nint features,
        float* scale,
        float* means,
        float* reciprocals,
        ReadOnlySpan<KRange> ranges,
        ReadOnlySpan<int> leafStarts,
        float* dx,
        float* dScale,
        float* dShift,
        KernelPool? pool = null)
    {
        Guard.NotNull(means, ranges.Length, nameof(means));
        Guard.NotNull(dShift, features, nameof(dShift));
        RowNorm.Backward<LayerStyle>(dy, x, features, scale, means, reciprocals, ranges, leafStarts, dx, dScale, dShift, pool);
    }
}

/// <summary>
/// RMS normalisation (Zhang and Sennrich, 2019) of the rows of a (rows, features) array: <see cref="LayerNorm"/> without
/// mean and shift. v = (Σ fma(x_i, x_i))·u; r = 1 / √(v + ε); y_i = n_i·γ_i with n_i = x_i·r. Backward:
/// dx_i = fma(-n_i, b, t_i)·r, all else as there.
/// </summary>
public static unsafe class RmsNorm
{
    /// <summary>y = norm of every row of x. Parameters as in <see cref="LayerNorm.Forward"/>.</summary>
    public static void Forward(
        float* x, nint rows, nint features, float* scale, float epsilon, float* y, float* reciprocals, KernelPool? pool = null) =>
        RowNorm.Forward<RmsStyle>(x, rows, features, scale, null, epsilon, y, null, reciprocals, pool);

    /// <summary>The gradients of x and of the scale from that of y. Parameters as in <see cref="LayerNorm.Backward"/>.</summary>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges.</exception>
    public static void Backward(
        float* dy,
        float* x,
        nint features,
        float* scale,
        float* reciprocals,
        ReadOnlySpan<KRange> ranges,
        ReadOnlySpan<int> leafStarts,
        float* dx,
        float* dScale,
        KernelPool? pool = null) =>
        RowNorm.Backward<RmsStyle>(dy, x, features, scale, null, reciprocals, ranges, leafStarts, dx, dScale, null, pool);
}
