namespace DistTrain.Kernels;

/// <summary>
/// Convolution of fp32 images in (example, y, x, channel) order, and its gradients; <see cref="ConvolutionShape"/>
/// has the sizes. Every result is one chain of fused multiply-adds from +0, weight gradients one for each leaf, whose
/// bits depend on nothing but its operands and the shape: not on how many examples a call has, threads or vector width.
/// </summary>
/// <remarks>
/// Weights don't change within a step, so they are packed once (<see cref="PackForward"/>, <see cref="PackData"/>)
/// into memory of the caller's and used by any number of calls, at any <see cref="SimdPath"/>. A transposed
/// convolution is <see cref="DataGradient"/> going forward.
/// </remarks>
public static unsafe partial class Convolution
{
    /// <summary>Floats of the weights packed for <see cref="Forward"/>.</summary>
    public static nint ForwardPackedLength(in ConvolutionShape shape)
    {
        shape.Validate();
        if (Winograd.Applies(shape)) return Winograd.PackedLength(shape);
        if (shape.Depthwise) return ConvPacking.GroupLength(shape.Channels, shape.Taps);
        return shape.Groups * ConvPacking.GroupLength(shape.GroupOutputs, (nint)shape.GroupChannels * shape.Taps);
    }

    /// <summary>Floats of the weights packed for <see cref="DataGradient"/>.</summary>
    public static nint DataPackedLength(in ConvolutionShape shape)
    {
        shape.Validate();
        if (Winograd.Applies(shape)) return Winograd.PackedLength(shape);
        if (shape.Depthwise) return ConvPacking.GroupLength(shape.Channels, shape.Taps);
        return shape.Groups * ConvPacking.GroupLength(shape.GroupChannels, (nint)shape.GroupOutputs * shape.Taps);
    }

    /// <summary>Packs weights for <see cref="Forward"/>.</summary>
    /// <param name="shape">The convolution.</param>
    /// <param name="w">(outputs, channels / groups, kernel height, kernel width).</param>
    /// <param name="packed">Receives <see cref="ForwardPackedLength"/> floats.</param>
    public static void PackForward(in ConvolutionShape shape, float* w, float* packed)
    {
        nint length = ForwardPackedLength(shape);
        CheckPacking(shape, w, packed, length);
        if (Winograd.Applies(shape)) Winograd.PackForward(shape, w, packed);
        else ConvPacking.Forward(shape, w, packed);
    }

    /// <summary>Packs weights for <see cref="DataGradient"/>.</summary>
    /// <param name="shape">The convolution.</param>
    /// <param name="w">(outputs, channels / groups, kernel height, kernel width).</param>
    /// <param name="packed">Receives <see cref="DataPackedLength"/> floats.</param>
    public static void PackData(in ConvolutionShape shape, float* w, float* packed)
    {
        nint length = DataPackedLength(shape);
        CheckPacking(shape, w, packed, length);
        if (Winograd.Applies(shape)) Winograd.PackData(shape, w, packed);
        else ConvPacking.Data(shape, w, packed);
    }

    /// <summary>
    /// y = activation(conv(x, w) + bias). A sum goes over (ky, kx, channel) in ascending order, pixels outside the image
    /// counting as +0.
    /// </summary>
    /// <param name="shape">The convolution.</param>
    /// <param name="examples">How many images.</param>
    /// <param name="x">(examples, height, width, channels).</param>
    /// <param name="packed">The weights from <see cref="PackForward"/>.</param>
    /// <param name="y">(examples, output height, output width, outputs): overwritten; apart from the operands.</param>
    /// <param name="epilogue">
    /// Bias (outputs) and activation, or the way back through one, whose outputs are a row for each pixel of y; default for
    /// nothing.
    /// </param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Forward(
        in ConvolutionShape shape, int examples, float* x, float* packed, float* y, GemmEpilogue epilogue = default, KernelPool? pool = null)
    {
        nint length = ForwardPackedLength(shape);
        Check(examples, x, examples * shape.InputLength, nameof(x), packed, length, y, examples * shape.OutputLength, nameof(y));
        Check(in epilogue, y, (nint)examples * shape.OutputHeight * shape.OutputWidth, shape.Outputs);
        if (examples == 0) return;
        if (Winograd.Applies(shape)) WinogradPass.Run(ForwardPass(shape, examples, x, packed, epilogue) with { Target = y }, pool);
        else Run(CorrelationProblem.Forward(shape.Flattened(), examples, x, packed, epilogue, y), shape.Depthwise, pool);
    }

    /// <summary>
    /// dX = the gradient at the input. A sum goes over (ky, kx, output channel), ky and kx descending so that dY is
    /// walked forwards, the channel ascending. The taps that take part are those that the stride brings to whole output
    /// positions; where such a position lies outside dY, it counts as +0.
    /// </summary>
    /// <param name="shape">The convolution.</param>
    /// <param name="examples">How many images.</param>
    /// <param name="dY">(examples, output height, output width, outputs).</param>
    /// <param name="packed">The weights from <see cref="PackData"/>.</param>
    /// <param name="dX">(examples, height, width, channels): overwritten; apart from the operands.</param>
    /// <param name="epilogue">
    /// The way back through the activation that gave x, whose outputs are a row for each pixel of dX; or bias (channels) and
    /// activation, for transposed convolutions; default for nothing.
    /// </param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void DataGradient(
        in ConvolutionShape shape, int examples, float* dY, float* packed, float* dX, GemmEpilogue epilogue = default, KernelPool? pool = null)
    {
        nint length = DataPackedLength(shape);
        Check(examples, dY, examples * shape.OutputLength, nameof(dY), packed, length, dX, examples * shape.InputLength, nameof(dX));
        Check(in epilogue, dX, (nint)examples * shape.Height * shape.Width, shape.Channels);
        if (examples == 0) return;
        if (Winograd.Applies(shape)) WinogradPass.Run(DataPass(shape, examples, Map(shape, dY), packed, epilogue, dX), pool);
        else Run(CorrelationProblem.Data(shape.Flattened(), examples, dY, packed, epilogue, dX), shape.Depthwise, pool);
    }

    /// <summary>
    /// dW = the gradient at the weights, leaf by leaf (a leaf is a shard) and along the shard tree: see
    /// <see cref="SegmentedGemm"/>. Within a leaf a sum goes over its ranges in the order given and over
    /// (example, y, x) of dY ascending, pixels outside the image counting as +0.
    /// </summary>
    /// <param name="shape">The convolution.</param>
    /// <param name="dY">(examples, output height, output width, outputs).</param>
    /// <param name="x">(examples, height, width, channels).</param>
    /// <param name="ranges">The ranges of examples of all leaves, leaf after leaf.</param>
    /// <param name="leafStarts">(leaves + 1): leaf i has ranges [leafStarts[i], leafStarts[i + 1]); at least one leaf.</param>
    /// <param name="dW">(outputs, channels / groups, kernel height, kernel width): overwritten; apart from the operands.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges.</exception>
    public static void WeightGradient(
        in ConvolutionShape shape,
        float* dY,
        float* x,
        ReadOnlySpan<KRange> ranges,
        ReadOnlySpan<int> leafStarts,
        float* dW,
        KernelPool? pool = null)
    {
        shape.Validate();
        nint examples = SegmentedGemm.CheckLeaves(ranges, leafStarts);
        Check((int)examples, x, examples * shape.InputLength, nameof(x), dY, examples * shape.OutputLength, dW, shape.WeightLength, nameof(dW));
        Weights(shape, Map(shape, dY), x, ranges, leafStarts, dW, pool);
    }

    /// <summary>db = the sums of dY over pixels, by plain additions over the same leaves, order and tree as <see cref="WeightGradient"/>.</summary>
    /// <param name="shape">The convolution.</param>
    /// <param name="dY">(examples, output height, output width, outputs).</param>
    /// <param name="ranges">The ranges of examples of all leaves, leaf after leaf.</param>
    /// <param name="leafStarts">(leaves + 1): leaf i has ranges [leafStarts[i], leafStarts[i + 1]); at least one leaf.</param>
    /// <param name="db">(outputs): overwritten.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges, or they have 2^31 pixels or more.</exception>
    public static void BiasGradient(
        in ConvolutionShape shape, float* dY, ReadOnlySpan<KRange> ranges, ReadOnlySpan<int> leafStarts, float* db, KernelPool? pool = null)
    {
        shape.Validate();
        nint examples = SegmentedGemm.CheckLeaves(ranges, leafStarts);
        nint pixels = (nint)shape.OutputHeight * shape.OutputWidth;
        Guard.NotNull(dY, examples, nameof(dY));
        Guard.NotNull(db, 1, nameof(db));
        Guard.Apart(db, shape.Outputs, dY, examples * shape.OutputLength);
        fixed (KRange* r = ranges)
        fixed (int* l = leafStarts)
        {
            var kernel = new ColumnSumKernel
            {
                DY = dY,
                StrideDY = shape.Outputs,
                Ranges = r,
                RangeUnit = pixels,
                LeafStarts = l,
                Leaves = leafStarts.Length - 1,
                Sums = db,
            };
            RangeRunner.Run(kernel, shape.Outputs, 16, 1 + (Traversal.Grain / Math.Max(examples * pixels, 1)), pool);
        }
    }

    private static void Run(in CorrelationProblem problem, bool depthwise, KernelPool? pool)
    {
        if (depthwise) DepthwiseKernel.Run(problem, pool);
        else CorrelationKernel.Run(problem, pool);
    }

    private static void CheckPacking(in ConvolutionShape shape, float* w, float* packed, nint length)
    {
        Guard.NotNull(w, 1, nameof(w));
        Guard.NotNull(packed, 1, nameof(packed));
        Guard.Apart(packed, length, w, shape.WeightLength);
    }

    private static void Check(in GemmEpilogue epilogue, float* target, nint pixels, int channels)
    {
        if (epilogue.Bias != null) Guard.Apart(target, pixels * channels, epilogue.Bias, channels);
        if (epilogue.Outputs == null) return;
        Guard.Stride(epilogue.StrideOutputs, channels, nameof(epilogue));
        Guard.Apart(target, pixels * channels, epilogue.Outputs, Guard.Extent(pixels, epilogue.StrideOutputs, channels));
    }

    private static void Check(
        int examples, float* source, nint sourceLength, string sourceName, float* packed, nint packedLength, float* target, nint targetLength, string targetName)
    {
        Guard.Length(examples, nameof(examples));
        Guard.NotNull(source, sourceLength, sourceName);
        Guard.NotNull(packed, packedLength, nameof(packed));
        Guard.NotNull(target, targetLength, targetName);
        Guard.Apart(target, targetLength, source, sourceLength);
        Guard.Apart(target, targetLength, packed, packedLength);
    }
}
