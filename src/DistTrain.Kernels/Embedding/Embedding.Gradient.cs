using System.Numerics;

namespace DistTrain.Kernels;

/// <content>The table's gradient.</content>
public static unsafe partial class Embedding
{
    /// <summary>dTable[r] = the sum of dY[i] over the tokens i of all shards with ids[i] = r.</summary>
    /// <param name="dY">(tokens, width), rows of <paramref name="strideDY"/> floats.</param>
    /// <param name="strideDY">Floats from one row of dY to the next.</param>
    /// <param name="vocabulary">Rows of the table.</param>
    /// <param name="width">Values of a row.</param>
    /// <param name="ids">(tokens): of all rows that the ranges reach.</param>
    /// <param name="ranges">The token ranges of all leaves, leaf after leaf.</param>
    /// <param name="leafStarts">(leaves + 1): leaf i has ranges [leafStarts[i], leafStarts[i + 1]).</param>
    /// <param name="dTable">(vocabulary, width): overwritten.</param>
    /// <param name="clear">
    /// Whether rows that no token names are set to +0. Without it they stay as they are: where the table is large and the
    /// tokens are few, give a table of zeros and <see cref="ClearRows"/> it with the same ids afterwards.
    /// </param>
    /// <param name="skip">An id whose row gets no gradient, as padding; -1 for none.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentOutOfRangeException">An id is no row; the message names its place.</exception>
    /// <exception cref="ArgumentException">The leaves don't describe the ranges.</exception>
    public static void Gradient(
        float* dY,
        nint strideDY,
        nint vocabulary,
        nint width,
        int* ids,
        ReadOnlySpan<KRange> ranges,
        ReadOnlySpan<int> leafStarts,
        float* dTable,
        bool clear = true,
        int skip = -1,
        KernelPool? pool = null)
    {
        nint reach = SegmentedGemm.CheckLeaves(ranges, leafStarts);
        Check(vocabulary, width, ids, 0);
        Guard.Stride(strideDY, width, nameof(strideDY));
        Guard.NotNull(ids, reach, nameof(ids));
        Guard.NotNull(dY, reach * width, nameof(dY));
        Guard.NotNull(dTable, vocabulary * width, nameof(dTable));
        Guard.Apart(dTable, vocabulary * width, dY, Guard.Extent(reach, strideDY, width));
        Guard.Apart(dTable, vocabulary * width, (float*)ids, reach);
        nint tokens = 0;
        foreach (KRange range in ranges) tokens += range.Count;
        // Two arrays of (id, leaf, token), and where each id's run begins.
        float* room = Workspace.Get((2 * EntryFloats * tokens) + tokens + 1);
        var entries = (Entry*)room;
        Entry* last = Sort(entries, entries + tokens, Fill(entries, ids, ranges, leafStarts, skip, vocabulary), vocabulary, out nint count);
        int* runs = (int*)(room + (2 * EntryFloats * tokens));
        nint runCount = 0;
        for (nint i = 0; i < count; i++)
            if (i == 0 || last[i].Id != last[i - 1].Id) runs[runCount++] = (int)i;
        runs[runCount] = (int)count;
        if (clear) Elementwise.Fill(dTable, vocabulary * width, 0);
        RangeRunner.Run(
            new GradientKernel { DY = dY, StrideDY = strideDY, Width = width, Entries = last, Runs = runs, DTable = dTable },
            runCount,
            1,
            1 + (GrainElements / Math.Max(width, 1)),
            pool);
    }

    private const int EntryFloats = 3;

    /// <summary>A token: which row it names and which leaf it is of.</summary>
    private struct Entry
    {
        public int Id;
        public int Leaf;
        public int Token;
    }

    // In the order of leaves and of tokens within them.
    private static nint Fill(Entry* entries, int* ids, ReadOnlySpan<KRange> ranges, ReadOnlySpan<int> leafStarts, int skip, nint vocabulary)
    {
        nint count = 0;
        for (int leaf = 0; leaf < leafStarts.Length - 1; leaf++)
        {
            for (int r = leafStarts[leaf]; r < leafStarts[leaf + 1]; r++)
            {
                for (int token = ranges[r].Start; token < ranges[r].Start + ranges[r].Count; token++)
                {
                    int id = ids[token];
                    if ((uint)id >= (ulong)vocabulary) Guard.ThrowId(token, id, vocabulary);
                    if (id != skip) entries[count++] = new Entry { Id = id, Leaf = leaf, Token = token };
                }
            }
        }
        return count;
    }

    // By id, byte by byte from the lowest, which keeps the order of equal ids.
    private static Entry* Sort(Entry* from, Entry* to, nint filled, nint vocabulary, out nint count)
    {
        count = filled;
        nint* starts = stackalloc nint[256];
        for (int shift = 0; shift < 32 && (vocabulary - 1) >> shift != 0; shift += 8)
        {
            new Span<nint>(starts, 256).Clear();
            for (nint i = 0; i < count; i++) starts[(from[i].Id >> shift) & 255]++;
            nint at = 0;
            for (int digit = 0; digit < 256; digit++) (starts[digit], at) = (at, at + starts[digit]);
            for (nint i = 0; i < count; i++) to[starts[(from[i].Id >> shift) & 255]++] = from[i];
            Entry* sorted = to;
            to = from;
            from = sorted;
        }
        return from;
    }

    private struct GradientKernel : IRangeKernel
    {
        public float* DY;
        public nint StrideDY;
        public nint Width;
        public Entry* Entries;
        public int* Runs;
        public float* DTable;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            float* stack = stackalloc float[LeafTree.StackDepth * 16];
            int* levels = stackalloc int[LeafTree.StackDepth];
            for (nint run = begin; run < end; run++)
            {
                Entry* first = Entries + Runs[run];
                Entry* stop = Entries + Runs[run + 1];
                float* target = DTable + (first->Id * Width);
                for (nint j = 0; j < Width; j += 16)
                {
                    int columns = (int)Math.Min(16, Width - j);
                    T.StorePartial(target + j, Row<T>(first, stop, j, columns, stack, levels), columns);
                }
            }
        }

        /// <summary>
        /// The tree over the leaves that have tokens: two neighbours among them join at the node where their numbers part,
        /// that is at the level of the highest bit in which they differ.
        /// </summary>
        private readonly T Row<T>(Entry* entry, Entry* stop, nint column, int columns, float* stack, int* levels)
            where T : struct, ILanes<T>
        {
            int pending = 0;
            while (true)
            {
                int leaf = entry->Leaf;
                T sum = T.Zero;
                for (; entry < stop && entry->Leaf == leaf; entry++)
                {
                    float* y = DY + (entry->Token * StrideDY) + column;
                    sum += columns == 16 ? T.Load(y) : T.LoadPartial(y, columns);
                }
                int level = entry == stop ? int.MaxValue : BitOperations.Log2((uint)(leaf ^ entry->Leaf));
                for (; pending > 0 && levels[pending - 1] < level; pending--) sum = T.Load(stack + ((pending - 1) * 16)) + sum;
                if (entry == stop) return sum;
                T.Store(stack + (pending * 16), sum);
                levels[pending++] = level;
            }
        }
    }
}
