namespace DistTrain.Kernels;

/// <summary>
/// Multi-head attention, softmax(scale·q·kᵀ)·v for each example and head, forward and backward, without ever holding
/// the (queries, keys) matrix: keys go by in blocks of 64 with an online softmax (Milakov and Gimelshein, 2018; Dao et
/// al., 2022, 'FlashAttention'), and the backward pass computes the weights again from the saved logarithms.
/// </summary>
/// <remarks>
/// <para>
/// Forward, for a query: its keys (from <see cref="AttentionShape.Start"/> on; under <see cref="AttentionShape.Causal"/> or a
/// <see cref="AttentionShape.Window"/> up to a multiple of 32; those it does not see excluded) go in blocks of 64, ascending. For a block: r_j = Σ_i k_ji·q_i, one chain of fused multiply-adds from
/// +0 over i ascending, -∞ if j is excluded; m' = the larger of m and scale·max r_j (m is -∞ at first, n is m' or 0 while that
/// is -∞); c = exp(m - n); p_j = exp(fma(r_j, scale, -n)); l = l·c and then + p_j, j ascending; o_i = o_i·c (o_i is +0 at
/// first) and then fma(p_j, v_ji, o_i), j ascending, with +0 for p_j where dropped. In the end o_i = o_i·((1 / l)·d), and the
/// logarithm kept is m + ln l; d is 1 / (1 - rate), 1 without dropout. A query without any key has o = 0 and the logarithm +∞.
/// </para>
/// <para>
/// Backward: D = Σ_i dO_i·o_i in 16 lanes with fused multiply-adds and the fixed tree; p_j = exp(fma(r_j, scale, -logarithm)),
/// dp_j = Σ_i dO_i·v_ji as r_j above, with dropout dp_j·d or +0 where dropped, ds_j = (p_j·(dp_j - D))·scale, and then with
/// dropout p_j = p_j·d or +0; p_j and ds_j are +0 if j is excluded. Then dq_i = Σ_j
/// ds_j·k_ji with keys ascending, dk_ji = Σ ds_j·q_i and dv_ji = Σ p_j·dO_i with queries ascending (those for which key j
/// takes part), each a chain of fused multiply-adds from +0.
/// </para>
/// <para>Examples, heads and queries are independent; threads split them, and never a sum.</para>
/// </remarks>
public static unsafe class Attention
{
    /// <summary>The keys of a block: part of the definition.</summary>
    public const int KeyBlock = 64;

    /// <summary>The widest head.</summary>
    public const int MaxWidth = 1024;

    // Multiplications that a thread should have at least.
    private const double GrainWork = 256 * 1024;

    /// <summary>o = attention(q, k, v).</summary>
    /// <param name="shape">Sizes and masks.</param>
    /// <param name="q">(batch, queries, heads, width).</param>
    /// <param name="k">(batch, keys, heads, width).</param>
    /// <param name="v">(batch, keys, heads, width).</param>
    /// <param name="o">(batch, queries, heads, width): written; apart from the inputs.</param>
    /// <param name="logarithms">(batch, heads, queries): receives the logarithm of each softmax's sum, for <see cref="Backward"/>.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Forward(
        in AttentionShape shape, HeadsView q, HeadsView k, HeadsView v, HeadsView o, float* logarithms, KernelPool? pool = null)
    {
        Check(in shape);
        nint count = shape.Batch * shape.Heads;
        if (count == 0 || shape.Queries == 0) return;
        CheckView(in shape, q, shape.Queries, nameof(q));
        CheckView(in shape, k, shape.Keys, nameof(k));
        CheckView(in shape, v, shape.Keys, nameof(v));
        CheckView(in shape, o, shape.Queries, nameof(o));
        Guard.NotNull(logarithms, 1, nameof(logarithms));
        Apart(in shape, o, shape.Queries, q, shape.Queries);
        Apart(in shape, o, shape.Queries, k, shape.Keys);
        Apart(in shape, o, shape.Queries, v, shape.Keys);
        CheckLogarithms(in shape, logarithms, o, shape.Queries);
        CheckLogarithms(in shape, logarithms, q, shape.Queries);
        CheckLogarithms(in shape, logarithms, k, shape.Keys);
        CheckLogarithms(in shape, logarithms, v, shape.Keys);
        var kernel = new AttentionForwardKernel { Shape = shape, Q = q, K = k, V = v, O = o, Logarithms = logarithms };
        RangeRunner.Run(kernel, count * kernel.Parts, 1, Grain(in shape, kernel.Parts), pool);
    }

    /// <summary>The gradients of q, k and v from that of o.</summary>
    /// <param name="shape">Sizes and masks, as in the forward pass.</param>
    /// <param name="q">(batch, queries, heads, width).</param>
    /// <param name="k">(batch, keys, heads, width).</param>
    /// <param name="v">(batch, keys, heads, width).</param>
    /// <param name="o">(batch, queries, heads, width): the output.</param>
    /// <param name="logarithms">(batch, heads, queries): what <see cref="Forward"/> kept.</param>
    /// <param name="dO">(batch, queries, heads, width): the gradient of o.</param>
    /// <param name="dq">(batch, queries, heads, width): overwritten; apart from the inputs, as are dk and dv.</param>
    /// <param name="dk">(batch, keys, heads, width): overwritten.</param>
    /// <param name="dv">(batch, keys, heads, width): overwritten.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Backward(
        in AttentionShape shape,
        HeadsView q,
        HeadsView k,
        HeadsView v,
        HeadsView o,
        float* logarithms,
        HeadsView dO,
        HeadsView dq,
        HeadsView dk,
        HeadsView dv,
        KernelPool? pool = null)
    {
        Check(in shape);
        nint count = shape.Batch * shape.Heads;
        if (count == 0) return;
        nint queries = shape.Queries, keys = shape.Keys;
        CheckView(in shape, q, queries, nameof(q));
        CheckView(in shape, k, keys, nameof(k));
        CheckView(in shape, v, keys, nameof(v));
        CheckView(in shape, o, queries, nameof(o));
        CheckView(in shape, dO, queries, nameof(dO));
        CheckView(in shape, dq, queries, nameof(dq));
        CheckView(in shape, dk, keys, nameof(dk));
        CheckView(in shape, dv, keys, nameof(dv));
        Guard.NotNull(logarithms, queries, nameof(logarithms));
        CheckGradient(in shape, dq, queries, q, k, v, o, dO);
        CheckGradient(in shape, dk, keys, q, k, v, o, dO);
        CheckGradient(in shape, dv, keys, q, k, v, o, dO);
        CheckLogarithms(in shape, logarithms, dq, queries);
        CheckLogarithms(in shape, logarithms, dk, keys);
        CheckLogarithms(in shape, logarithms, dv, keys);
        ApartOrInterleaved(in shape, dq, queries, dk, keys);
        ApartOrInterleaved(in shape, dq, queries, dv, keys);
        ApartOrInterleaved(in shape, dk, keys, dv, keys);
        var kernel = new AttentionBackwardKernel
        {
            Shape = shape,
            Q = q,
            K = k,
            V = v,
            O = o,
            Logarithms = logarithms,
            GradientO = dO,
            GradientQ = dq,
            GradientK = dk,
            GradientV = dv,
        };
        if (pool is null || count >= 2 * pool.Threads || count % pool.Threads == 0)
        {
            kernel.Part = AttentionPart.All;
            RangeRunner.Run(kernel, count, 1, Grain(in shape, 1), pool);
            return;
        }
        // Too few heads for the threads: key blocks own dk and dv, query tiles own dq, and the weights are computed twice.
        kernel.Part = AttentionPart.Keys;
        RangeRunner.Run(kernel, count * kernel.Parts, 1, Grain(in shape, kernel.Parts), pool);
        kernel.Part = AttentionPart.Queries;
        RangeRunner.Run(kernel, count * kernel.Parts, 1, Grain(in shape, kernel.Parts), pool);
    }

    private static nint Grain(in AttentionShape shape, nint parts)
    {
        double work = (double)shape.Queries * shape.Keys * shape.Width * 2 / parts;
        return (nint)Math.Max(1, Math.Min(GrainWork / Math.Max(work, 1), GrainWork));
    }

    private static void Check(in AttentionShape shape)
    {
        Guard.Length(shape.Batch, nameof(shape.Batch));
        Guard.Length(shape.Heads, nameof(shape.Heads));
        Guard.Length(shape.Queries, nameof(shape.Queries));
        Guard.Length(shape.Keys, nameof(shape.Keys));
        if (shape.Width is < 1 or > MaxWidth) ThrowRange("Width", shape.Width, 1, MaxWidth);
        if (shape.Offset is < int.MinValue or > int.MaxValue) ThrowRange("Offset", shape.Offset, int.MinValue, int.MaxValue);
        if (shape.Window is < 0 or > int.MaxValue) ThrowRange("Window", shape.Window, 0, int.MaxValue);
        shape.Dropout.Check(shape.Batch, shape.Heads, shape.Queries, shape.Keys);
        if (!(shape.Scale > 0) || !float.IsFinite(shape.Scale)) ThrowScale(shape.Scale);
        if (shape.Lengths == null) return;
        for (nint b = 0; b < shape.Batch; b++)
        {
            if (shape.Lengths[b] < 0 || shape.Lengths[b] > shape.Keys) ThrowLength(b, shape.Lengths[b], shape.Keys);
        }
    }

    private static void CheckView(in AttentionShape shape, HeadsView view, nint times, string name)
    {
        Guard.NotNull(view.Pointer, times, name);
        if (shape.Batch > 1) Guard.Length(view.Batch, name);
        if (shape.Heads > 1) Guard.Length(view.Head, name);
        if (times > 1) Guard.Stride(view.Time, shape.Width, name);
    }

    private static void CheckGradient(
        in AttentionShape shape, HeadsView gradient, nint times, HeadsView q, HeadsView k, HeadsView v, HeadsView o, HeadsView dO)
    {
        Apart(in shape, gradient, times, q, shape.Queries);
        Apart(in shape, gradient, times, k, shape.Keys);
        Apart(in shape, gradient, times, v, shape.Keys);
        Apart(in shape, gradient, times, o, shape.Queries);
        Apart(in shape, gradient, times, dO, shape.Queries);
    }

    private static void Apart(in AttentionShape shape, HeadsView a, nint timesA, HeadsView b, nint timesB) =>
        Guard.Apart(a.Pointer, a.Extent(in shape, timesA), b.Pointer, b.Extent(in shape, timesB));

    private static void CheckLogarithms(in AttentionShape shape, float* logarithms, HeadsView view, nint times) =>
        Guard.Apart(logarithms, shape.Batch * shape.Heads * shape.Queries, view.Pointer, view.Extent(in shape, times));

    /// <summary>Two results may lie between each other's rows, as the parts of one array of q, k and v do.</summary>
    private static void ApartOrInterleaved(in AttentionShape shape, HeadsView a, nint timesA, HeadsView b, nint timesB)
    {
        nint distance = Math.Abs((nint)(a.Pointer - b.Pointer));
        if (a.Batch == b.Batch && a.Time == b.Time && a.Head == b.Head)
        {
            // From the innermost rows outwards: what one view has there, both fit in side by side.
            nint times = Math.Max(timesA, timesB);
            bool headsInside = shape.Heads == 1 || a.Head <= a.Time;
            nint span = shape.Width;
            if (Beside(distance, ref span, headsInside ? a.Head : a.Time, headsInside ? shape.Heads : times)) return;
            if (Beside(distance, ref span, headsInside ? a.Time : a.Head, headsInside ? times : shape.Heads)) return;
            if (Beside(distance, ref span, a.Batch, shape.Batch)) return;
        }
        Apart(in shape, a, timesA, b, timesB);
    }

    private static bool Beside(nint distance, ref nint span, nint stride, nint count)
    {
        if (count <= 1) return false;
        if (distance >= span && distance + span <= stride) return true;
        span += (count - 1) * stride;
        return false;
    }

    private static void ThrowRange(string what, nint got, nint least, nint most) =>
        throw new ArgumentOutOfRangeException(nameof(got), got, $"{what} is {got}; it must lie from {least} to {most}.");

    private static void ThrowScale(float scale) =>
        throw new ArgumentOutOfRangeException(nameof(scale), scale, "The scale of the inner products must be finite and above zero.");

    private static void ThrowLength(nint example, int length, nint keys) =>
        throw new ArgumentOutOfRangeException(nameof(length), length, $"Example {example} has {length} keys; there is room for 0 to {keys}.");
}
