namespace DistTrain.Kernels;

/// <summary>
/// Sums of squares that don't depend on where tensors are cut: over blocks of <see cref="Block"/> elements that restart
/// at each tensor, then along trees. In a block element i goes to lane i mod 16, each lane is a chain of fused
/// multiply-adds from +0, and the lanes join along the fixed tree. Blocks join in double along the tree that splits
/// [lo, hi) at lo + the largest power of two below its length; so do the tensors of a model.
/// </summary>
public static unsafe class BlockNorms
{
    /// <summary>Elements of a block; the last one of a tensor may be shorter.</summary>
    public const int Block = 4096;

    /// <summary>How many blocks a tensor has.</summary>
    public static nint Blocks(nint length) => (length + Block - 1) / Block;

    /// <summary>The blocks' sums of squares.</summary>
    /// <param name="values">(length), from the start of a block, in <paramref name="format"/>.</param>
    /// <param name="format">What the values are stored in.</param>
    /// <param name="length">How many values.</param>
    /// <param name="sums">(<see cref="Blocks"/>): receives one sum for each block.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void SumsOfSquares(void* values, FloatFormat format, nint length, float* sums, KernelPool? pool = null)
    {
        Guard.Length(length, nameof(length));
        Guard.NotNull(values, length, nameof(values));
        Guard.NotNull(sums, length, nameof(sums));
        Guard.BytesApart(sums, Blocks(length) * sizeof(float), values, length * format.Size());
        switch (format)
        {
            case FloatFormat.BFloat16: Run<BFloat16Format>(values, length, sums, pool); break;
            case FloatFormat.Float16: Run<Float16Format>(values, length, sums, pool); break;
            default: Run<Float32Format>(values, length, sums, pool); break;
        }
    }

    /// <summary>The sum of squares of a tensor from those of its blocks, all of them in order; 0 for none.</summary>
    public static double Tensor(ReadOnlySpan<float> blocks)
    {
        if (blocks.Length <= 1) return blocks.IsEmpty ? 0 : blocks[0];
        int half = (int)(System.Numerics.BitOperations.RoundUpToPowerOf2((uint)blocks.Length) / 2);
        return Tensor(blocks[..half]) + Tensor(blocks[half..]);
    }

    /// <summary>The sum of squares of a model from those of its tensors, in layout order; 0 for none.</summary>
    public static double Model(ReadOnlySpan<double> tensors)
    {
        if (tensors.Length <= 1) return tensors.IsEmpty ? 0 : tensors[0];
        int half = (int)(System.Numerics.BitOperations.RoundUpToPowerOf2((uint)tensors.Length) / 2);
        return Model(tensors[..half]) + Model(tensors[half..]);
    }

    /// <summary>
    /// What clipping by norm multiplies a gradient with: min(1, limit / (norm + 1e-6)), rounded once to fp32, for the norm
    /// of the mean gradient. A NaN norm gives NaN.
    /// </summary>
    /// <param name="sumOfSquares">Of the gradient's sums.</param>
    /// <param name="totalWeight">What the sums are divided by.</param>
    /// <param name="limit">The largest norm that is left alone.</param>
    public static float ClipScale(double sumOfSquares, double totalWeight, double limit)
    {
        double factor = limit / ((Math.Sqrt(sumOfSquares) / totalWeight) + 1e-6);
        return factor >= 1 ? 1 : (float)factor;
    }

    private static void Run<TFormat>(void* values, nint length, float* sums, KernelPool? pool)
        where TFormat : struct, IFormat =>
        RangeRunner.Run(
            new Kernel<TFormat> { Values = values, Length = length, Sums = sums }, Blocks(length), 1, Traversal.Grain / Block, pool);

    private struct Kernel<TFormat> : IRangeKernel
        where TFormat : struct, IFormat
    {
        public void* Values;
        public nint Length;
        public float* Sums;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            for (nint block = begin; block < end; block++)
            {
                nint i = block * Block;
                nint stop = Math.Min(i + Block, Length);
                T sum = T.Zero;
                for (; i <= stop - 16; i += 16)
                {
                    T v = TFormat.Load<T>(Values, i);
                    sum = T.Fma(v, v, sum);
                }
                if (i < stop)
                {
                    T v = TFormat.LoadPartial<T>(Values, i, (int)(stop - i));
                    sum = T.Fma(v, v, sum);
                }
                Sums[block] = T.Sum(sum);
            }
        }
    }
}
