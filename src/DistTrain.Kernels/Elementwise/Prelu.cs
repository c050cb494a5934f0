namespace DistTrain.Kernels;

/// <summary>
/// PReLU (He et al., 2015) over (rows, channels, inner) with a slope for each channel; one slope for all is one channel.
/// y = x above zero, else a·x. The gradient of a slope sums dy·x where x is not above zero, over the shards along their
/// tree; within a shard: with inner = 1 one chain of fused multiply-adds from +0, rows ascending; else 16 such chains,
/// element i of a row's channel in chain i mod 16, rows ascending and i within them, joined along the fixed tree.
/// </summary>
public static unsafe class Prelu
{
    /// <summary>y = x above zero, else slope·x (NaN included).</summary>
    /// <param name="x">(rows, channels, inner).</param>
    /// <param name="slopes">(channels).</param>
    /// <param name="rows">How many examples.</param>
    /// <param name="channels">How many slopes.</param>
    /// <param name="inner">Values of a channel.</param>
    /// <param name="y">(rows, channels, inner); may be x.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Forward(float* x, float* slopes, nint rows, nint channels, nint inner, float* y, KernelPool? pool = null)
    {
        Check(rows, channels, inner);
        nint size = rows * channels * inner;
        Guard.NotNull(x, size, nameof(x));
        Guard.NotNull(slopes, size, nameof(slopes));
        Guard.NotNull(y, size, nameof(y));
        Guard.SameOrApart(y, x, size);
        Guard.Apart(y, size, slopes, channels);
        Run(new InputKernel { Source = x, X = x, Slopes = slopes, Target = y, Channels = channels, Inner = inner }, rows, channels * inner, pool);
    }

    /// <summary>dx = dy where x is above zero, else slope·dy. Parameters as in <see cref="Forward"/>.</summary>
    /// <param name="dy">(rows, channels, inner).</param>
    /// <param name="x">(rows, channels, inner): the input.</param>
    /// <param name="slopes">(channels).</param>
    /// <param name="rows">How many examples.</param>
    /// <param name="channels">How many slopes.</param>
    /// <param name="inner">Values of a channel.</param>
    /// <param name="dx">(rows, channels, inner); may be dy.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void InputGradient(
        float* dy, float* x, float* slopes, nint rows, nint channels, nint inner, float* dx, KernelPool? pool = null)
    {
        Check(rows, channels, inner);
        nint size = rows * channels * inner;
        Guard.NotNull(dy, size, nameof(dy));
        Guard.NotNull(x, size, nameof(x));
        Guard.NotNull(slopes, size, nameof(slopes));
        Guard.NotNull(dx, size, nameof(dx));
        Guard.SameOrApart(dx, dy, size);
        Guard.SameOrApart(dx, x, size);
        Guard.Apart(dx, size, slopes, channels);
        Run(new InputKernel { Source = dy, X = x, Slopes = slopes, Target = dx, Channels = channels, Inner = inner }, rows, channels * inner, pool);
    }

    /// <summary>The slopes' gradient over the shards.</summary>
    /// <param name="dy">(rows, channels, inner).</param>
    /// <param name="x">(rows, channels, inner): the input.</param>
    /// <param name="channels">How many slopes.</param>
    /// <param name="inner">Values of a channel.</param>
    /// <param name="ranges">The row ranges of all leaves, leaf after leaf.</param>
    /// <param name="leafStarts">(leaves + 1): leaf i has ranges [leafStarts[i], leafStarts[i + 1]).</param>
    /// <param name="dSlopes">(channels): overwritten.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges.</exception>
    public static void SlopeGradient(
        float* dy,
        float* x,
        nint channels,
        nint inner,
        ReadOnlySpan<KRange> ranges,
        ReadOnlySpan<int> leafStarts,
        float* dSlopes,
        KernelPool? pool = null)
    {
        nint rows = SegmentedGemm.CheckLeaves(ranges, leafStarts);
        Check(rows, channels, inner);
        nint size = rows * channels * inner;
        Guard.NotNull(dy, size, nameof(dy));
        Guard.NotNull(x, size, nameof(x));
        Guard.NotNull(dSlopes, channels, nameof(dSlopes));
        Guard.Apart(dSlopes, channels, dy, size);
        Guard.Apart(dSlopes, channels, x, size);
        fixed (KRange* r = ranges)
        fixed (int* l = leafStarts)
        {
            var kernel = new SlopeKernel
            {
                DY = dy,
                X = x,
                Channels = channels,
                Inner = inner,
                Ranges = r,
                LeafStarts = l,
                Leaves = leafStarts.Length - 1,
                DSlopes = dSlopes,
            };
            RangeRunner.Run(kernel, channels, inner == 1 ? 16 : 1, 1 + (Traversal.Grain / Math.Max(rows * inner, 1)), pool);
        }
    }

    private static void Run(InputKernel kernel, nint rows, nint rowSize, KernelPool? pool) =>
        RangeRunner.Run(kernel, rows, 1, 1 + (Traversal.Grain / Math.Max(rowSize, 1)), pool);

    private static void Check(nint rows, nint channels, nint inner)
    {
        Guard.Length(rows, nameof(rows));
        Guard.Length(channels, nameof(channels));
        Guard.Length(inner, nameof(inner));
    }

    /// <summary>target = source where x is above zero, else slope·source.</summary>
    private struct InputKernel : IRangeKernel
    {
        public float* Source;
        public float* X;
        public float* Slopes;
        public float* Target;
        public nint Channels;
        public nint Inner;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            for (nint row = begin; row < end; row++)
            {
                if (Inner == 1)
                {
                    Span<T>(row * Channels, Channels, null);
                    continue;
                }
                for (nint c = 0; c < Channels; c++) Span<T>(((row * Channels) + c) * Inner, Inner, Slopes + c);
            }
        }

        private readonly void Span<T>(nint at, nint length, float* slope)
            where T : struct, ILanes<T>
        {
            T one = slope == null ? T.Zero : T.Broadcast(*slope);
            nint i = 0;
            for (; i <= length - 16; i += 16)
            {
                T a = slope == null ? T.Load(Slopes + i) : one;
                T s = T.Load(Source + at + i);
                T.Store(Target + at + i, T.Select(T.LessThan(T.Zero, T.Load(X + at + i)), s, s * a));
            }
            if (i < length)
            {
                int rest = (int)(length - i);
                T a = slope == null ? T.LoadPartial(Slopes + i, rest) : one;
                T s = T.LoadPartial(Source + at + i, rest);
                T.StorePartial(Target + at + i, T.Select(T.LessThan(T.Zero, T.LoadPartial(X + at + i, rest)), s, s * a), rest);
            }
        }
    }

    private struct SlopeKernel : IRangeKernel
    {
        public float* DY;
        public float* X;
        public nint Channels;
        public nint Inner;
        public KRange* Ranges;
        public int* LeafStarts;
        public int Leaves;
        public float* DSlopes;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            float* stack = stackalloc float[LeafTree.StackDepth * 16];
            // Sixteen channels at a time where each is one value of a row, else channel by channel.
            nint step = Inner == 1 ? 16 : 1;
            for (nint c = begin; c < end; c += step)
            {
                int columns = (int)Math.Min(step, end - c);
                int pending = 0;
                for (int leaf = 0; leaf < Leaves; leaf++)
                {
                    T sum = Leaf<T>(leaf, c, columns);
                    for (int joins = LeafTree.Joins(leaf, leaf == Leaves - 1, pending); joins > 0; joins--)
                    {
                        pending--;
                        sum = T.Load(stack + (pending * 16)) + sum;
                    }
                    T.Store(stack + (pending * 16), sum);
                    pending++;
                }
                T.StorePartial(DSlopes + c, T.Load(stack), columns);
            }
        }

        private readonly T Leaf<T>(int leaf, nint channel, int columns)
            where T : struct, ILanes<T>
        {
            T sum = T.Zero;
            for (int range = LeafStarts[leaf]; range < LeafStarts[leaf + 1]; range++)
            {
                for (nint row = Ranges[range].Start; row < (nint)Ranges[range].Start + Ranges[range].Count; row++)
                {
                    nint at = ((row * Channels) + channel) * Inner;
                    nint length = Inner == 1 ? columns : Inner;
                    nint i = 0;
                    for (; i <= length - 16; i += 16) sum = Add(sum, T.Load(DY + at + i), T.Load(X + at + i));
                    int rest = (int)(length - i);
                    if (rest == 0) continue;
                    // Lanes beyond the end stay: fma(0, 0, sum) would turn -0 into +0.
                    T more = Add(sum, T.LoadPartial(DY + at + i, rest), T.LoadPartial(X + at + i, rest));
                    sum = T.Select(T.FirstLanes(rest), more, sum);
                }
            }
            return Inner == 1 ? sum : T.Broadcast(T.Sum(sum));
        }

        private static T Add<T>(T sum, T g, T x)
            where T : struct, ILanes<T> => T.Select(T.LessThan(T.Zero, x), sum, T.Fma(g, x, sum));
    }
}
