using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// Joins segments of gradients along the shard tree where every node is rounded to a 16-bit format: a leaf is Q(segment), a node
/// Q(left + right), the sum as well. The tree is that of <see cref="SegmentJoin"/>. One pass over memory gives the bits of
/// rounding and joining two by two, whoever joins what.
/// </summary>
public static unsafe class RoundedJoin
{
    /// <summary>The most segments that one call takes.</summary>
    public const int MaxSegments = SegmentJoin.MaxSegments;

    // What is pending of a chunk stays in the L1 cache.
    private const int Chunk = 512;

    // How many values ahead of the loop memory is asked for.
    private const int Ahead = 256;

    /// <summary>sum = the segments' sum along the tree, every node rounded to <paramref name="node"/>.</summary>
    /// <param name="segments">(count): pointers to arrays of (length) values each.</param>
    /// <param name="count">How many segments, at least one.</param>
    /// <param name="format">What the segments hold: fp32, or <paramref name="node"/>.</param>
    /// <param name="node">The format that nodes are rounded to, of 16 bits.</param>
    /// <param name="sum">(length): overwritten; apart from the segments, or one of them where it holds the same format.</param>
    /// <param name="sumFormat">What the sum holds: fp32, or <paramref name="node"/>.</param>
    /// <param name="length">How many values.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no segment, there are too many, or the formats don't go together.</exception>
    public static void Sum(void** segments, int count, FloatFormat format, FloatFormat node, void* sum, FloatFormat sumFormat, nint length, KernelPool? pool = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, MaxSegments);
        if (node.Size() != 2) throw new ArgumentOutOfRangeException(nameof(node), node, "Nodes are rounded to a format of 16 bits.");
        if (format != FloatFormat.Float32 && format != node) throw new ArgumentOutOfRangeException(nameof(format), format, "Segments hold fp32 or what nodes are rounded to.");
        if (sumFormat != FloatFormat.Float32 && sumFormat != node) throw new ArgumentOutOfRangeException(nameof(sumFormat), sumFormat, "The sum holds fp32 or what nodes are rounded to.");
        Guard.Length(length, nameof(length));
        Guard.NotNull(segments, count, nameof(segments));
        Guard.NotNull(sum, length, nameof(sum));
        for (int i = 0; i < count; i++)
        {
            Guard.NotNull(segments[i], length, nameof(segments));
            if (segments[i] != sum || format != sumFormat) Guard.BytesApart(sum, length * sumFormat.Size(), segments[i], length * format.Size());
        }

        var work = new Work { Segments = segments, Count = count, Sum = sum };
        if (node == FloatFormat.BFloat16) Run<BFloat16Format>(work, format, sumFormat, length, pool);
        else Run<Float16Format>(work, format, sumFormat, length, pool);
    }

    private static void Run<TNode>(in Work work, FloatFormat format, FloatFormat sumFormat, nint length, KernelPool? pool)
        where TNode : struct, IFormat
    {
        switch (format == FloatFormat.Float32, sumFormat == FloatFormat.Float32)
        {
            case (true, true): Run<Float32Format, TNode, Float32Format>(work, length, pool); break;
            case (true, false): Run<Float32Format, TNode, TNode>(work, length, pool); break;
            case (false, true): Run<TNode, TNode, Float32Format>(work, length, pool); break;
            case (false, false): Run<TNode, TNode, TNode>(work, length, pool); break;
        }
    }

    private static void Run<TFormat, TNode, TSum>(in Work work, nint length, KernelPool? pool)
        where TFormat : struct, IFormat
        where TNode : struct, IFormat
        where TSum : struct, IFormat => RangeRunner.Run(new Kernel<TFormat, TNode, TSum> { Work = work }, length, 16, Traversal.Grain, pool);

    private struct Work
    {
        public void** Segments;
        public int Count;
        public void* Sum;
    }

    // Chunk by chunk: segments come in order onto a stack of what is pending, as the tree has it.
    private struct Kernel<TFormat, TNode, TSum> : IRangeKernel
        where TFormat : struct, IFormat
        where TNode : struct, IFormat
        where TSum : struct, IFormat
    {
        public Work Work;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            float* stack = Workspace.Get(LeafTree.StackDepth * Chunk);
            for (nint start = begin; start < end; start += Chunk)
            {
                int length = (int)Math.Min(Chunk, end - start);
                float* top = stack - Chunk;
                int pending = 0;
                for (int leaf = 0; leaf < Work.Count; leaf++)
                {
                    int joins = LeafTree.Joins(leaf, leaf == Work.Count - 1, pending);
                    if (joins == 0)
                    {
                        top += Chunk;
                        pending++;
                        Read<T>(Work.Segments[leaf], start, top, length);
                        continue;
                    }

                    Join<T>(top, Work.Segments[leaf], start, length);
                    for (joins--; joins > 0; joins--, pending--, top -= Chunk) Join<T>(top - Chunk, top, length);
                }

                int at = 0;
                for (; at <= length - 16; at += 16) TSum.Store(Work.Sum, start + at, T.Load(stack + at));
                if (at < length) TSum.StorePartial(Work.Sum, start + at, T.Load(stack + at), length - at);
            }
        }

        // values = Q(segment)
        private static void Read<T>(void* segment, nint start, float* values, int length)
            where T : struct, ILanes<T>
        {
            int i = 0;
            for (; i <= length - 16; i += 16)
            {
                Prefetch(segment, start + i);
                T.Store(values + i, Leaf(TFormat.Load<T>(segment, start + i)));
            }

            // The stack has room for whole vectors; a rest's other lanes are +0.
            if (i < length) T.Store(values + i, Leaf(TFormat.LoadPartial<T>(segment, start + i, length - i)));
        }

        // left = Q(left + Q(segment))
        private static void Join<T>(float* left, void* segment, nint start, int length)
            where T : struct, ILanes<T>
        {
            int i = 0;
            for (; i <= length - 16; i += 16)
            {
                Prefetch(segment, start + i);
                T.Store(left + i, TNode.Round(T.Load(left + i) + Leaf(TFormat.Load<T>(segment, start + i))));
            }

            if (i < length) T.Store(left + i, TNode.Round(T.Load(left + i) + Leaf(TFormat.LoadPartial<T>(segment, start + i, length - i))));
        }

        // left = Q(left + right)
        private static void Join<T>(float* left, float* right, int length)
            where T : struct, ILanes<T>
        {
            for (int i = 0; i < length; i += 16) T.Store(left + i, TNode.Round(T.Load(left + i) + T.Load(right + i)));
        }

        // What came in the nodes' format is rounded.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static T Leaf<T>(T values)
            where T : struct, ILanes<T> => typeof(TFormat) == typeof(TNode) ? values : TNode.Round(values);

        // The processor's own prefetching stops at each page's end.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void Prefetch(void* segment, nint at)
        {
            if (Sse.IsSupported) Sse.Prefetch0((byte*)segment + ((at + Ahead) * TFormat.Size));
        }
    }
}
