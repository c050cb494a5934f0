using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// Joins segments of gradients along the shard tree in one pass over memory: of segments [lo, hi) the sum is that of
/// [lo, mid) plus that of [mid, hi), mid = lo + the largest power of two below hi - lo, by plain fp32 additions. So n
/// leaves, or n nodes of one height and a shorter last one, give the bits that joining them two by two gives.
/// </summary>
public static unsafe class SegmentJoin
{
    /// <summary>The most segments that one call takes.</summary>
    public const int MaxSegments = 16_384;

    // Up to this many segments are read side by side; more are joined group by group, a chunk at a time.
    private const int Group = 8;
    private const int Chunk = 2048;

    // How many values ahead of the loop memory is asked for.
    private const int Ahead = 256;

    // A sum from this size on is written past the caches: it would not stay there, and reading its lines first costs
    // as much as writing them.
    private const nint StreamingBytes = 8 << 20;

    /// <summary>sum = the segments' sum along the tree.</summary>
    /// <param name="segments">(count): pointers to arrays of (length) values each.</param>
    /// <param name="count">How many segments, at least one.</param>
    /// <param name="format">What the segments hold; all of them the same.</param>
    /// <param name="sum">(length): fp32, overwritten; apart from the segments, or for fp32 one of them.</param>
    /// <param name="length">How many values.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no segment, or there are too many.</exception>
    public static void Sum(void** segments, int count, FloatFormat format, float* sum, nint length, KernelPool? pool = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, MaxSegments);
        Guard.Length(length, nameof(length));
        Guard.NotNull(segments, count, nameof(segments));
        Guard.NotNull(sum, length, nameof(sum));
        nint bytes = length * format.Size();
        bool inPlace = false;
        for (int i = 0; i < count; i++)
        {
            Guard.NotNull(segments[i], length, nameof(segments));
            if (segments[i] == sum && format == FloatFormat.Float32) inPlace = true;
            else Guard.BytesApart(sum, length * sizeof(float), segments[i], bytes);
        }
        switch (format)
        {
            case FloatFormat.BFloat16: Run<BFloat16Format>(segments, count, sum, length, inPlace, pool); break;
            case FloatFormat.Float16: Run<Float16Format>(segments, count, sum, length, inPlace, pool); break;
            default: Run<Float32Format>(segments, count, sum, length, inPlace, pool); break;
        }
    }

    /// <summary>sum += segment, for a segment that arrived in any format: the second child joins the first.</summary>
    /// <param name="sum">(length): the first child, updated.</param>
    /// <param name="segment">(length): the second child, apart from the first.</param>
    /// <param name="format">What the segment holds.</param>
    /// <param name="length">How many values.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Add(float* sum, void* segment, FloatFormat format, nint length, KernelPool? pool = null)
    {
        Guard.Length(length, nameof(length));
        Guard.NotNull(sum, length, nameof(sum));
        Guard.NotNull(segment, length, nameof(segment));
        Guard.BytesApart(sum, length * sizeof(float), segment, length * format.Size());
        switch (format)
        {
            case FloatFormat.BFloat16: RangeRunner.Run(new AddKernel<BFloat16Format> { Sum = sum, Segment = segment }, length, 16, Traversal.Grain, pool); break;
            case FloatFormat.Float16: RangeRunner.Run(new AddKernel<Float16Format> { Sum = sum, Segment = segment }, length, 16, Traversal.Grain, pool); break;
            default: RangeRunner.Run(new AddKernel<Float32Format> { Sum = sum, Segment = segment }, length, 16, Traversal.Grain, pool); break;
        }
    }

    private static void Run<TFormat>(void** segments, int count, float* sum, nint length, bool inPlace, KernelPool? pool)
        where TFormat : struct, IFormat
    {
        bool streaming = !inPlace && length * sizeof(float) >= StreamingBytes && (nint)sum % 64 == 0 && count <= Group;
        var kernel = new Kernel<TFormat> { Segments = segments, Count = count, Sum = sum, Streaming = streaming };
        RangeRunner.Run(kernel, length, 16, Traversal.Grain, pool);
    }

    private struct Kernel<TFormat> : IRangeKernel
        where TFormat : struct, IFormat
    {
        public void** Segments;
        public int Count;
        public float* Sum;
        public bool Streaming;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            if (Count > Group)
            {
                Grouped<T>(begin, end);
                return;
            }
            nint whole = begin + ((end - begin) & ~15);
            if (Streaming)
            {
                for (nint i = begin; i < whole; i += 16)
                {
                    Prefetch(Segments, Count, i + Ahead);
                    T.StoreStreaming(Sum + i, Tree<T>(Segments, Count, i, 16));
                }
                // Other threads may read the sum as soon as the pool's own barrier says that it is there.
                if (Sse.IsSupported) Sse.StoreFence();
            }
            else
            {
                for (nint i = begin; i < whole; i += 16) T.Store(Sum + i, Tree<T>(Segments, Count, i, 16));
            }
            if (whole < end) T.StorePartial(Sum + whole, Tree<T>(Segments, Count, whole, (int)(end - whole)), (int)(end - whole));
        }

        // Groups of eight are the tree's nodes of that size; the last may be shorter. They join on a stack of chunks.
        private readonly void Grouped<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            int groups = (Count + Group - 1) / Group;
            float* stack = Workspace.Get(LeafTree.StackDepth * Chunk);
            for (nint start = begin; start < end; start += Chunk)
            {
                int length = (int)Math.Min(Chunk, end - start);
                int pending = 0;
                for (int group = 0; group < groups; group++)
                {
                    float* top = stack + (pending++ * Chunk);
                    void** segments = Segments + (group * Group);
                    int count = Math.Min(Group, Count - (group * Group));
                    // The stack has room for whole vectors; a rest's other lanes are +0.
                    for (int i = 0; i < length; i += 16)
                    {
                        Prefetch(segments, count, start + i + Ahead);
                        T.Store(top + i, Tree<T>(segments, count, start + i, length - i));
                    }
                    for (int joins = LeafTree.Joins(group, group == groups - 1, pending - 1); joins > 0; joins--)
                    {
                        float* left = stack + ((--pending - 1) * Chunk);
                        for (int i = 0; i < length; i += 16) T.Store(left + i, T.Load(left + i) + T.Load(left + Chunk + i));
                    }
                }
                int at = 0;
                for (; at <= length - 16; at += 16) T.Store(Sum + start + at, T.Load(stack + at));
                if (at < length) T.StorePartial(Sum + start + at, T.Load(stack + at), length - at);
            }
        }

        // The processor's own prefetching stops at each page's end.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void Prefetch(void** segments, int count, nint at)
        {
            if (!Sse.IsSupported) return;
            for (int s = 0; s < count; s++) Sse.Prefetch0((byte*)segments[s] + (at * TFormat.Size));
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static T Tree<T>(void** s, int count, nint at, int rest)
            where T : struct, ILanes<T> => count switch
            {
                8 => Four<T>(s, at, rest) + Four<T>(s + 4, at, rest),
                7 => Four<T>(s, at, rest) + (Two<T>(s + 4, at, rest) + One<T>(s[6], at, rest)),
                6 => Four<T>(s, at, rest) + Two<T>(s + 4, at, rest),
                5 => Four<T>(s, at, rest) + One<T>(s[4], at, rest),
                4 => Four<T>(s, at, rest),
                3 => Two<T>(s, at, rest) + One<T>(s[2], at, rest),
                2 => Two<T>(s, at, rest),
                _ => One<T>(s[0], at, rest),
            };

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static T Four<T>(void** s, nint at, int rest)
            where T : struct, ILanes<T> => Two<T>(s, at, rest) + Two<T>(s + 2, at, rest);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static T Two<T>(void** s, nint at, int rest)
            where T : struct, ILanes<T> => One<T>(s[0], at, rest) + One<T>(s[1], at, rest);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static T One<T>(void* segment, nint at, int rest)
            where T : struct, ILanes<T> => rest >= 16 ? TFormat.Load<T>(segment, at) : TFormat.LoadPartial<T>(segment, at, rest);
    }

    private struct AddKernel<TFormat> : IRangeKernel
        where TFormat : struct, IFormat
    {
        public float* Sum;
        public void* Segment;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            nint i = begin;
            for (; i <= end - 16; i += 16) T.Store(Sum + i, T.Load(Sum + i) + TFormat.Load<T>(Segment, i));
            int rest = (int)(end - i);
            if (rest > 0) T.StorePartial(Sum + i, T.LoadPartial(Sum + i, rest) + TFormat.LoadPartial<T>(Segment, i, rest), rest);
        }
    }
}
