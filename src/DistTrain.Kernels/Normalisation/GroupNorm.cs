namespace DistTrain.Kernels;

/// <summary>
/// Group normalisation (Wu and He, 2018) of (examples, positions, channels) arrays: each example's channels are normalised
/// in groups of channels / groups neighbours, over all positions. One group is layer norm over whole examples, as many
/// groups as channels instance norm. Examples are independent of each other.
/// </summary>
/// <remarks>
/// With u = 1 / (positions · channels of a group): sums go down the positions of each channel first, from +0, and then over
/// the group's channels in 16 lanes and the fixed tree (<see cref="Reductions"/>). mean = (Σ x)·u; variance, in a second pass,
/// (Σ fma(d, d))·u with d = x - mean; r = 1 / √(variance + ε); y = fma(n, γ, β) with n = (x - mean)·r.
/// Backward, down the positions: B = Σ dy and G = Σ fma(dy, n) of each channel; over a group's channels a = (Σ fma(γ, B))·u,
/// b = (Σ fma(γ, G))·u; dx = fma(-n, b, dy·γ - a)·r. dβ and dγ: a leaf adds its examples' B and G in the order given, from
/// +0; leaves join as <see cref="SegmentedGemm"/> says.
/// </remarks>
public static unsafe class GroupNorm
{
    /// <summary>y = norm of x.</summary>
    /// <param name="x">(examples, positions, channels).</param>
    /// <param name="examples">How many examples.</param>
    /// <param name="positions">How many positions each has, at least 1.</param>
    /// <param name="channels">How many channels, at least 1.</param>
    /// <param name="groups">How many groups; a divisor of the channels.</param>
    /// <param name="scale">(channels): γ.</param>
    /// <param name="shift">(channels): β.</param>
    /// <param name="epsilon">ε, at least 0.</param>
    /// <param name="y">(examples, positions, channels); may be x.</param>
    /// <param name="means">(examples, groups): receives the means, for the backward pass.</param>
    /// <param name="reciprocals">(examples, groups): receives r, for the backward pass.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Forward(
        float* x,
        nint examples,
        nint positions,
        nint channels,
        nint groups,
        float* scale,
        float* shift,
        float epsilon,
        float* y,
        float* means,
        float* reciprocals,
        KernelPool? pool = null)
    {
        Check(x, examples, positions, channels, groups, scale, means, reciprocals);
        Guard.NotNull(y, examples, nameof(y));
        Guard.NotNull(shift, examples, nameof(shift));
        ArgumentOutOfRangeException.ThrowIfNegative(epsilon);
        nint size = examples * positions * channels;
        nint kept = examples * groups;
        Guard.SameOrApart(y, x, size);
        Guard.Apart([new(y, size)], [new(scale, channels), new(shift, channels)]);
        Guard.Apart([new(means, kept), new(reciprocals, kept)], [new(x, size), new(y, size), new(scale, channels), new(shift, channels)]);
        var kernel = new GroupNormForwardKernel
        {
            X = x,
            Positions = positions,
            Channels = channels,
            Groups = groups,
            Scale = scale,
            Shift = shift,
            Epsilon = epsilon,
            Y = y,
            Means = means,
            Reciprocals = reciprocals,
        };
        RangeRunner.Run(kernel, examples, 1, 1 + (Traversal.Grain / (positions * channels)), pool);
    }

    /// <summary>The gradients of x and of both parameters from that of y.</summary>
    /// <param name="dy">(examples, positions, channels).</param>
    /// <param name="x">(examples, positions, channels): the forward pass's input.</param>
    /// <param name="examples">How many examples.</param>
    /// <param name="positions">How many positions each has.</param>
    /// <param name="channels">How many channels.</param>
    /// <param name="groups">How many groups.</param>
    /// <param name="scale">(channels): γ.</param>
    /// <param name="means">(examples, groups): from the forward pass.</param>
    /// <param name="reciprocals">(examples, groups): from the forward pass.</param>
    /// <param name="ranges">The examples of all leaves, leaf after leaf; they make the parameters' gradients.</param>
    /// <param name="leafStarts">(leaves + 1): leaf i has ranges [leafStarts[i], leafStarts[i + 1]); at least one leaf.</param>
    /// <param name="dx">(examples, positions, channels): all examples' gradients; may be dy or x.</param>
    /// <param name="dScale">(channels): receives dγ.</param>
    /// <param name="dShift">(channels): receives dβ.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges, or those go beyond the examples.</exception>
    public static void Backward(
        float* dy,
        float* x,
        nint examples,
        nint positions,
        nint channels,
        nint groups,
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
        Check(x, examples, positions, channels, groups, scale, means, reciprocals);
        if (SegmentedGemm.CheckLeaves(ranges, leafStarts) > examples)
            Guard.ThrowSegments($"The ranges go beyond the {examples} examples.", nameof(ranges));
        Guard.NotNull(dy, examples, nameof(dy));
        Guard.NotNull(dx, examples, nameof(dx));
        Guard.NotNull(dScale, channels, nameof(dScale));
        Guard.NotNull(dShift, channels, nameof(dShift));
        nint size = positions * channels;
        Guard.SameOrApart(dx, dy, examples * size);
        Guard.SameOrApart(dx, x, examples * size);
        nint all = examples * size;
        nint kept = examples * groups;
        Guard.Apart([new(dx, all)], [new(scale, channels), new(means, kept), new(reciprocals, kept)]);
        Guard.Apart(
            [new(dScale, channels), new(dShift, channels)],
            [new(dy, all), new(x, all), new(dx, all), new(scale, channels), new(means, kept), new(reciprocals, kept)]);
        int leaves = leafStarts.Length - 1;
        // Of each example B, G and room for four vectors more; of each leaf B and G.
        float* scratch = Workspace.Get(((examples * 6) + (leaves * 2)) * channels);
        var kernel = new GroupNormBackwardKernel
        {
            DY = dy,
            X = x,
            Positions = positions,
            Channels = channels,
            Groups = groups,
            Scale = scale,
            Means = means,
            Reciprocals = reciprocals,
            DX = dx,
            Scratch = scratch,
        };
        RangeRunner.Run(kernel, examples, 1, 1 + (Traversal.Grain / size), pool);
        float* sums = scratch + (examples * 6 * channels);
        for (int leaf = 0; leaf < leaves; leaf++)
        {
            float* sum = sums + (leaf * 2 * channels);
            Elementwise.Fill(sum, 2 * channels, 0);
            for (int r = leafStarts[leaf]; r < leafStarts[leaf + 1]; r++)
                for (int i = ranges[r].Start; i < ranges[r].Start + ranges[r].Count; i++)
                    Elementwise.Add(sum, scratch + (i * 6 * channels), sum, 2 * channels);
        }
        BatchNorm.LeafSum(sums, 2 * channels, leaves, sums);
        Elementwise.Copy(sums, dShift, channels);
        Elementwise.Copy(sums + channels, dScale, channels);
    }

    private static void Check(
        float* x, nint examples, nint positions, nint channels, nint groups, float* scale, float* means, float* reciprocals)
    {
        Guard.Length(examples, nameof(examples));
        Guard.Stride(positions, 1, nameof(positions));
        Guard.Stride(channels, 1, nameof(channels));
        Guard.Stride(groups, 1, nameof(groups));
        if (channels % groups != 0) ThrowGroups(channels, groups);
        Guard.NotNull(x, examples, nameof(x));
        Guard.NotNull(scale, examples, nameof(scale));
        Guard.NotNull(means, examples, nameof(means));
        Guard.NotNull(reciprocals, examples, nameof(reciprocals));
    }

    private static void ThrowGroups(nint channels, nint groups) =>
        throw new ArgumentException($"{channels} channels can't be cut into {groups} equal groups.", nameof(groups));
}
