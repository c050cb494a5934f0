namespace DistTrain.Kernels;

/// <content>Convolutions with a max pooling of 2x2, 2 apart, at their end: the whole map is never written to memory.</content>
public static unsafe partial class Convolution
{
    /// <summary>Whether <see cref="ForwardPooled"/> and its gradients take this convolution.</summary>
    public static bool Pools(in ConvolutionShape shape) => !shape.Depthwise && shape.OutputHeight >= 2 && shape.OutputWidth >= 2;

    /// <summary>
    /// y = the maxima of windows of 2x2 pixels of conv(x, w) + bias, or of its ReLU: <see cref="Forward"/>, then
    /// <see cref="Pooling.Max"/>, with the same bits. A last odd row or column is in no window.
    /// </summary>
    /// <param name="shape">The convolution; <see cref="Pools"/> holds.</param>
    /// <param name="examples">How many images.</param>
    /// <param name="x">(examples, height, width, channels).</param>
    /// <param name="packed">The weights from <see cref="PackForward"/>.</param>
    /// <param name="bias">(outputs); null for none.</param>
    /// <param name="relu">Whether a ReLU comes before the pooling.</param>
    /// <param name="y">(examples, output height / 2, output width / 2, outputs): overwritten; apart from the operands.</param>
    /// <param name="taps">
    /// Like y: receives, for the gradients, which pixel of its window each maximum was: 0 to 3 in (y, x) order, or 4 where the
    /// ReLU lets no gradient through; null when none will be asked for.
    /// </param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void ForwardPooled(
        in ConvolutionShape shape, int examples, float* x, float* packed, float* bias, bool relu, float* y, float* taps, KernelPool? pool = null)
    {
        nint length = ForwardPackedLength(shape);
        CheckPools(shape);
        nint pooled = examples * PooledLength(shape);
        Check(examples, x, examples * shape.InputLength, nameof(x), packed, length, y, pooled, nameof(y));
        Guard.Apart(taps, taps == null ? 0 : pooled, x, examples * shape.InputLength);
        Guard.Apart(taps, taps == null ? 0 : pooled, y, pooled);
        if (bias != null) Guard.Apart(y, pooled, bias, shape.Outputs);
        if (examples == 0) return;
        var epilogue = new GemmEpilogue(bias, relu ? Activation.Relu : Activation.Identity);
        if (Winograd.Applies(shape))
        {
            WinogradPass.Run(ForwardPass(shape, examples, x, packed, epilogue) with { Pooled = y, Taps = taps }, pool);
            return;
        }
        CorrelationProblem problem = CorrelationProblem.Forward(shape, examples, x, packed, epilogue, null);
        problem.Pooled = y;
        problem.PooledTaps = taps;
        CorrelationKernel.Run(problem, pool);
    }

    /// <summary>dX behind <see cref="ForwardPooled"/>: as <see cref="DataGradient"/> has it from the whole map's gradient.</summary>
    /// <param name="shape">The convolution.</param>
    /// <param name="examples">How many images.</param>
    /// <param name="dY">(examples, output height / 2, output width / 2, outputs).</param>
    /// <param name="taps">What <see cref="ForwardPooled"/> left.</param>
    /// <param name="packed">The weights from <see cref="PackData"/>.</param>
    /// <param name="dX">(examples, height, width, channels): overwritten; apart from the operands.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void DataGradientPooled(
        in ConvolutionShape shape, int examples, float* dY, float* taps, float* packed, float* dX, KernelPool? pool = null)
    {
        nint length = DataPackedLength(shape);
        CheckPools(shape);
        nint pooled = examples * PooledLength(shape);
        Check(examples, dY, pooled, nameof(dY), packed, length, dX, examples * shape.InputLength, nameof(dX));
        Guard.NotNull(taps, pooled, nameof(taps));
        Guard.Apart(taps, pooled, dX, examples * shape.InputLength);
        if (examples == 0) return;
        if (Winograd.Applies(shape))
        {
            WinogradPass.Run(DataPass(shape, examples, Map(shape, dY) with { Taps = taps }, packed, default, dX), pool);
            return;
        }
        CorrelationProblem problem = CorrelationProblem.Data(shape, examples, dY, packed, default, dX);
        problem.SourceTaps = taps;
        CorrelationKernel.Run(problem, pool);
    }

    /// <summary>dW behind <see cref="ForwardPooled"/>: as <see cref="WeightGradient"/> has it from the whole map's gradient.</summary>
    /// <param name="shape">The convolution.</param>
    /// <param name="dY">(examples, output height / 2, output width / 2, outputs).</param>
    /// <param name="taps">What <see cref="ForwardPooled"/> left.</param>
    /// <param name="x">(examples, height, width, channels).</param>
    /// <param name="ranges">The ranges of examples of all leaves, leaf after leaf.</param>
    /// <param name="leafStarts">(leaves + 1): leaf i has ranges [leafStarts[i], leafStarts[i + 1]); at least one leaf.</param>
    /// <param name="dW">(outputs, channels / groups, kernel height, kernel width): overwritten; apart from the operands.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges.</exception>
    public static void WeightGradientPooled(
        in ConvolutionShape shape,
        float* dY,
        float* taps,
        float* x,
        ReadOnlySpan<KRange> ranges,
        ReadOnlySpan<int> leafStarts,
        float* dW,
        KernelPool? pool = null)
    {
        shape.Validate();
        CheckPools(shape);
        nint examples = SegmentedGemm.CheckLeaves(ranges, leafStarts);
        nint pooled = examples * PooledLength(shape);
        Check((int)examples, x, examples * shape.InputLength, nameof(x), dY, pooled, dW, shape.WeightLength, nameof(dW));
        Guard.NotNull(taps, pooled, nameof(taps));
        Guard.Apart(taps, pooled, dW, shape.WeightLength);
        Weights(shape, Map(shape, dY) with { Taps = taps }, x, ranges, leafStarts, dW, pool);
    }

    /// <summary>db behind <see cref="ForwardPooled"/>: as <see cref="BiasGradient"/> has it from the whole map's gradient.</summary>
    /// <param name="shape">The convolution.</param>
    /// <param name="dY">(examples, output height / 2, output width / 2, outputs).</param>
    /// <param name="taps">What <see cref="ForwardPooled"/> left.</param>
    /// <param name="ranges">The ranges of examples of all leaves, leaf after leaf.</param>
    /// <param name="leafStarts">(leaves + 1): leaf i has ranges [leafStarts[i], leafStarts[i + 1]); at least one leaf.</param>
    /// <param name="db">(outputs): overwritten.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges.</exception>
    public static void BiasGradientPooled(
        in ConvolutionShape shape, float* dY, float* taps, ReadOnlySpan<KRange> ranges, ReadOnlySpan<int> leafStarts, float* db, KernelPool? pool = null)
    {
        shape.Validate();
        CheckPools(shape);
        nint examples = SegmentedGemm.CheckLeaves(ranges, leafStarts);
        nint pooled = examples * PooledLength(shape);
        Guard.NotNull(dY, pooled, nameof(dY));
        Guard.NotNull(taps, pooled, nameof(taps));
        Guard.NotNull(db, 1, nameof(db));
        Guard.Apart(db, shape.Outputs, dY, pooled);
        Guard.Apart(db, shape.Outputs, taps, pooled);
        fixed (KRange* r = ranges)
        fixed (int* l = leafStarts)
        {
            var kernel = new PooledColumnSum { DY = Map(shape, dY) with { Taps = taps }, Ranges = r, LeafStarts = l, Leaves = leafStarts.Length - 1, Sums = db };
            RangeRunner.Run(kernel, shape.Outputs, 16, 1 + (Traversal.Grain / Math.Max(pooled / shape.Outputs, 1)), pool);
        }
    }

    private static nint PooledLength(in ConvolutionShape shape) => (nint)(shape.OutputHeight / 2) * (shape.OutputWidth / 2) * shape.Outputs;

    private static void CheckPools(in ConvolutionShape shape)
    {
        if (!Pools(shape)) throw new ArgumentException($"{shape} has no windows of 2x2 at its end.", nameof(shape));
    }

    /// <summary>The gradient at the outputs as images.</summary>
    private static ConvSource Map(in ConvolutionShape shape, float* dY) =>
        new() { Values = dY, Height = shape.OutputHeight, Width = shape.OutputWidth, Channels = shape.Outputs };

    private static WinogradPass ForwardPass(in ConvolutionShape shape, int examples, float* x, float* packed, GemmEpilogue epilogue) => new()
    {
        Source = new() { Values = x, Height = shape.Height, Width = shape.Width, Channels = shape.Channels },
        Examples = examples,
        PadTop = shape.PadTop,
        PadLeft = shape.PadLeft,
        Height = shape.OutputHeight,
        Width = shape.OutputWidth,
        Channels = shape.Outputs,
        Packed = packed,
        Epilogue = epilogue,
    };

    private static WinogradPass DataPass(in ConvolutionShape shape, int examples, ConvSource dY, float* packed, GemmEpilogue epilogue, float* dX) => new()
    {
        Source = dY,
        Examples = examples,
        PadTop = 2 - shape.PadTop,
        PadLeft = 2 - shape.PadLeft,
        Height = shape.Height,
        Width = shape.Width,
        Channels = shape.Channels,
        Packed = packed,
        Epilogue = epilogue,
        Target = dX,
    };

    private static void Weights(
        in ConvolutionShape shape, ConvSource dY, float* x, ReadOnlySpan<KRange> ranges, ReadOnlySpan<int> leafStarts, float* dW, KernelPool? pool)
    {
        fixed (KRange* r = ranges)
        fixed (int* l = leafStarts)
        {
            if (Winograd.Applies(shape))
            {
                var kernel = new WinogradWeights { Shape = shape, DY = dY, X = x, Ranges = r, LeafStarts = l, Leaves = leafStarts.Length - 1, DW = dW };
                WinogradWeights.Run(kernel, pool);
                return;
            }
            var problem = new ConvWeightProblem
            {
                Shape = shape,
                DY = dY,
                X = x,
                Ranges = r,
                LeafStarts = l,
                Leaves = leafStarts.Length - 1,
                DW = dW,
            };
            if (shape.Depthwise) DepthwiseWeightKernel.Run(problem, pool);
            else ConvWeightKernel.Run(problem, pool);
        }
    }
}
