namespace DistTrain.Kernels;

/// <summary>The doors of <see cref="LayerNorm"/> and <see cref="RmsNorm"/>, and how their backward pass is cut up.</summary>
internal static unsafe class RowNorm
{
    private const int GrainElements = 16 * 1024;

    public static void Forward<TStyle>(
        float* x, nint rows, nint features, float* scale, float* shift, float epsilon, float* y, float* means, float* reciprocals, KernelPool? pool)
        where TStyle : struct, IRowNormStyle
    {
        Guard.Length(rows, nameof(rows));
        Guard.Stride(features, 1, nameof(features));
        Guard.NotNull(x, rows, nameof(x));
        Guard.NotNull(y, rows, nameof(y));
        Guard.NotNull(scale, rows, nameof(scale));
        Guard.NotNull(reciprocals, rows, nameof(reciprocals));
        ArgumentOutOfRangeException.ThrowIfNegative(epsilon);
        nint size = rows * features;
        Guard.SameOrApart(y, x, size);
        Guard.Apart([new(y, size)], [new(scale, features), new(shift, features)]);
        Guard.Apart([new(means, rows), new(reciprocals, rows)], [new(x, size), new(y, size), new(scale, features), new(shift, features)]);
        var kernel = new RowNormForwardKernel<TStyle>
        {
            X = x,
            Features = features,
            Scale = scale,
            Shift = shift,
            Epsilon = epsilon,
            Y = y,
            Means = means,
            Reciprocals = reciprocals,
        };
        RangeRunner.Run(kernel, rows, 4, 1 + (GrainElements / features), pool);
    }

    public static void Backward<TStyle>(
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
        KernelPool? pool)
        where TStyle : struct, IRowNormStyle
    {
        Guard.Stride(features, 1, nameof(features));
        nint rows = SegmentedGemm.CheckLeaves(ranges, leafStarts);
        Guard.NotNull(dy, rows, nameof(dy));
        Guard.NotNull(x, rows, nameof(x));
        Guard.NotNull(dx, rows, nameof(dx));
        Guard.NotNull(scale, features, nameof(scale));
        Guard.NotNull(reciprocals, rows, nameof(reciprocals));
        Guard.NotNull(dScale, features, nameof(dScale));
        nint size = rows * features;
        Guard.SameOrApart(dx, dy, size);
        Guard.SameOrApart(dx, x, size);
        Guard.Apart([new(dx, size)], [new(scale, features), new(means, rows), new(reciprocals, rows)]);
        Guard.Apart(
            [new(dScale, features), new(dShift, features)],
            [new(dy, size), new(x, size), new(dx, size), new(scale, features), new(means, rows), new(reciprocals, rows)]);
        nint count = 0;
        foreach (KRange range in ranges) count += range.Count;
        fixed (KRange* r = ranges)
        fixed (int* l = leafStarts)
        {
            var kernel = new RowNormBackwardKernel<TStyle>
            {
                DY = dy,
                X = x,
                Features = features,
                Scale = scale,
                Means = means,
                Reciprocals = reciprocals,
                Ranges = r,
                RangeCount = ranges.Length,
                LeafStarts = l,
                Leaves = leafStarts.Length - 1,
                DX = dx,
                DScale = dScale,
                DShift = dShift,
            };
            nint grain = 1 + (GrainElements / features);
            if (pool is null || pool.Threads == 1 || count < 2 * grain)
            {
                kernel.Task = RowNormTask.Everything;
                RangeRunner.Run(kernel, 1, 1, 1, null);
                return;
            }
            // The parameters first: dx may take the place of what they need.
            kernel.Task = RowNormTask.Parameters;
            RangeRunner.Run(kernel, features, 16, 16, pool);
            kernel.Task = RowNormTask.Inputs;
            RangeRunner.Run(kernel, count, 4, grain, pool);
        }
    }
}
