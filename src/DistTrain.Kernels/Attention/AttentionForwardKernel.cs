using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// The forward pass: see <see cref="Attention"/>. Key blocks go by on the outside, tiles of up to 32 queries within, so
/// that a block's keys and values are fetched once for up to 512 queries. Queries lie along the lanes, so that the
/// softmax's maxima and sums need no shuffles. All products work on small copies that lie close together: rows of a
/// packed projection are far apart, and would share few cache sets.
/// </summary>
internal unsafe struct AttentionForwardKernel : IRangeKernel
{
    private const int Tile = AttentionShape.Group;
    private const int Block = Attention.KeyBlock;

    // Queries of one item of work; cut at frontiers they may make one tile more.
    private const int PartQueries = 512;
    private const int Tiles = (PartQueries / Tile) + 1;

    public AttentionShape Shape;
    public HeadsView Q;
    public HeadsView K;
    public HeadsView V;
    public HeadsView O;
    public float* Logarithms;

    /// <summary>How many items the queries of one head are.</summary>
    public readonly nint Parts => (Shape.Queries + PartQueries - 1) / PartQueries;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        nint width = Shape.Width;
        nint stride = AttentionTiles.Stride(width);
        Unsafe.SkipInit(out Scratch s);
        s.Stride = stride;
        s.Keys = Workspace.Get((Block * (width + stride + Tile)) + (Tiles * Tile * (width + stride + 3)) + AttentionDropoutTile.Words);
        s.Values = s.Keys + (Block * width);
        s.Scores = s.Values + (Block * stride);
        s.Output = s.Scores + (Block * Tile);
        s.State = s.Output + (Tiles * Tile * stride);
        s.Queries = s.State + (Tiles * Tile * 3);
        s.Kept = (uint*)(s.Queries + (Tiles * Tile * width));
        nint parts = Parts;
        for (nint item = begin; item < end; item++)
        {
            nint head = item / parts;
            nint first = item % parts * PartQueries;
            nint last = Math.Min(first + PartQueries, Shape.Queries);
            PrepareNext<T>(ref s, item + 1 < end && parts == 1 ? head + 1 : -1);
            RunPart<T>(ref s, head, first, last);
        }
    }

    private readonly void PrepareNext<T>(ref Scratch s, nint head)
        where T : struct, ILanes<T>
    {
        s.Prefetch.Clear(head < 0 ? 0 : Math.Min(Shape.Queries, Shape.Keys), Shape.Width);
        if (head < 0) return;
        nint example = head / Shape.Heads;
        nint index = head % Shape.Heads;
        s.Prefetch.Add(Q.At(example, index), Q.Time);
        s.Prefetch.Add(K.At(example, index), K.Time);
        s.Prefetch.Add(V.At(example, index), V.Time);
        s.Prefetch.Add(O.At(example, index), O.Time);
        nint pairs = (Shape.Queries + Tile - 1) / Tile * ((Shape.Keys + Block - 1) / Block);
        s.Prefetch.Spread(pairs * (AttentionTiles.Tiles<T>(Block, Tile) + AttentionTiles.Tiles<T>(Tile, Shape.Width)));
    }

    private readonly void RunPart<T>(ref Scratch s, nint head, nint first, nint last)
        where T : struct, ILanes<T>
    {
        nint width = Shape.Width;
        nint example = head / Shape.Heads;
        nint keys = Shape.KeysOf(example);
        float* q = Q.At(example, head % Shape.Heads);
        float* k = K.At(example, head % Shape.Heads);
        float* v = V.At(example, head % Shape.Heads);
        nint least = Shape.Start(first);
        nint most = 0;
        nint tile = 0;
        for (nint i = first; i < last; tile++)
        {
            nint count = Math.Min(Shape.TileEnd(i), last) - i;
            AttentionTiles.Transpose<T>(q + (i * Q.Time), Q.Time, count, width, s.Queries + (tile * Tile * width), Tile);
            float* state = s.State + (tile * Tile * 3);
            for (int c = 0; c < Tile; c += 16)
            {
                T.Store(state + c, T.Broadcast(float.NegativeInfinity));
                T.Store(state + Tile + c, T.Zero);
            }
            nint limit = Shape.Limit(i, keys);
            if (limit <= Shape.Start(i)) AttentionTiles.Clear<T>(s.Output + (tile * Tile * s.Stride), count * s.Stride);
            most = Math.Max(most, limit);
            i += count;
        }
        for (nint j = least; j < most; j += Block)
        {
            nint block = Math.Min(Block, most - j);
            AttentionTiles.Transpose<T>(k + (j * K.Time), K.Time, block, width, s.Keys, Block);
            AttentionTiles.Gather<T>(v + (j * V.Time), V.Time, block, width, s.Values, s.Stride);
            tile = 0;
            for (nint i = first; i < last; tile++)
            {
                nint count = Math.Min(Shape.TileEnd(i), last) - i;
                nint present = Math.Min(Block, Shape.Limit(i, keys) - j);
                if (present > 0 && j >= Shape.Start(i)) RunTile<T>(ref s, tile, head, i, count, present, j);
                i += count;
            }
        }
        float* o = O.At(example, head % Shape.Heads);
        float* logarithms = Logarithms + (head * Shape.Queries);
        tile = 0;
        for (nint i = first; i < last; tile++)
        {
            nint count = Math.Min(Shape.TileEnd(i), last) - i;
            Finish<T>(count, s.Output + (tile * Tile * s.Stride), s.Stride, o + (i * O.Time), s.State + (tile * Tile * 3), logarithms + i);
            i += count;
        }
    }

    /// <summary>A tile of queries, the first being i, meets a block of keys, the first being j.</summary>
    private readonly void RunTile<T>(ref Scratch s, nint tile, nint head, nint i, nint count, nint block, nint j)
        where T : struct, ILanes<T>
    {
        nint width = Shape.Width;
        float* output = s.Output + (tile * Tile * s.Stride);
        float* state = s.State + (tile * Tile * 3);
        AttentionTiles.Multiply<T>(
            block, Tile, width, s.Keys, 1, Block, s.Queries + (tile * Tile * width), Tile, add: false, s.Scores, Tile, ref s.Prefetch);
        bool isFirst = j == Shape.Start(i);
        if (Shape.Bounded) ExcludeBehind<T>(s.Scores, block, i + Shape.Reach - j);
        if (Shape.Window > 0) ExcludeBefore<T>(s.Scores, block, i + Shape.Back - j);
        for (int c = 0; c < Tile; c += 16)
        {
            Advance<T>(s.Scores + c, block, state + c);
            Weigh<T>(s.Scores + c, block, state + c);
        }
        if (Shape.Dropout.Drops)
        {
            AttentionDropoutTile.Draw<T>(in Shape, head, i, count, j, block, s.Kept);
            AttentionDropoutTile.DropByKeys<T>(s.Kept, s.Scores, block);
        }
        if (!isFirst) Correct<T>(count, output, s.Stride, state + (2 * Tile));
        AttentionTiles.Multiply<T>(count, (width + 15) & ~15, block, s.Scores, 1, Tile, s.Values, s.Stride, add: !isFirst, output, s.Stride, ref s.Prefetch);
    }

    /// <summary>-∞ where key r lies beyond query <paramref name="position"/> + lane, both counted from the block's first key.</summary>
    private static void ExcludeBehind<T>(float* scores, nint block, nint position)
        where T : struct, ILanes<T>
    {
        T lowest = T.Broadcast(float.NegativeInfinity);
        for (nint r = Math.Max(position + 1, 0); r < block; r++)
        {
            for (int c = 0; c < Tile; c += 16)
            {
                float* row = scores + (r * Tile) + c;
                T.Store(row, T.Select(T.FirstLanes((int)(r - position) - c), lowest, T.Load(row)));
            }
        }
    }

    /// <summary>-∞ where key r lies before <paramref name="position"/> + lane, both counted from the block's first key.</summary>
    private static void ExcludeBefore<T>(float* scores, nint block, nint position)
        where T : struct, ILanes<T>
    {
        T lowest = T.Broadcast(float.NegativeInfinity);
        for (nint r = 0; r < Math.Min(position + Tile - 1, block); r++)
        {
            for (int c = 0; c < Tile; c += 16)
            {
                float* row = scores + (r * Tile) + c;
                T.Store(row, T.Select(T.FirstLanes((int)(r - position) + 1 - c), T.Load(row), lowest));
            }
        }
    }

    /// <summary>Moves 16 queries' maxima and corrections on to a block's scores, and corrects their sums.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private readonly void Advance<T>(float* scores, nint block, float* state)
        where T : struct, ILanes<T>
    {
        T lowest = T.Broadcast(float.NegativeInfinity);
        T a = lowest, b = lowest;
        float* row = scores;
        nint left = block;
        for (; left >= 2; left -= 2, row += 2 * Tile)
        {
            a = T.Greater(T.Load(row), a);
            b = T.Greater(T.Load(row + Tile), b);
        }
        if (left > 0) a = T.Greater(T.Load(row), a);
        T old = T.Load(state);
        T max = T.Greater(T.Greater(a, b) * T.Broadcast(Shape.Scale), old);
        T correction = LaneMath.ExpUpTo89(old + Shift(max));
        T.Store(state, max);
        T.Store(state + Tile, T.Load(state + Tile) * correction);
        T.Store(state + (2 * Tile), correction);
    }

    /// <summary>-n of a maximum: what is added to scores.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Shift<T>(T max)
        where T : struct, ILanes<T> => T.Zero - T.Select(T.Equal(max, T.Broadcast(float.NegativeInfinity)), T.Zero, max);

    /// <summary>Turns 16 queries' scores into weights and adds them to their sums.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private readonly void Weigh<T>(float* scores, nint block, float* state)
        where T : struct, ILanes<T>
    {
        T scale = T.Broadcast(Shape.Scale);
        T shift = Shift(T.Load(state));
        T sum = T.Load(state + Tile);
        float* row = scores;
        nint left;
        for (left = block; LaneMath.InFours<T>() && left >= 4; left -= 4, row += 4 * Tile)
        {
            T p0 = T.Fma(T.Load(row), scale, shift);
            T p1 = T.Fma(T.Load(row + Tile), scale, shift);
            T p2 = T.Fma(T.Load(row + (2 * Tile)), scale, shift);
            T p3 = T.Fma(T.Load(row + (3 * Tile)), scale, shift);
            LaneMath.ExpUpTo89(ref p0, ref p1, ref p2, ref p3);
            T.Store(row, p0);
            T.Store(row + Tile, p1);
            T.Store(row + (2 * Tile), p2);
            T.Store(row + (3 * Tile), p3);
            sum = sum + p0 + p1 + p2 + p3;
        }
        for (; left > 0; left--, row += Tile)
        {
            T p = LaneMath.ExpUpTo89(T.Fma(T.Load(row), scale, shift));
            T.Store(row, p);
            sum += p;
        }
        T.Store(state + Tile, sum);
    }

    private static void Correct<T>(nint count, float* output, nint stride, float* corrections)
        where T : struct, ILanes<T>
    {
        for (nint i = 0; i < count; i++)
        {
            // Multiplying by 1 changes nothing.
            if (corrections[i] == 1f) continue;
            T factor = T.Broadcast(corrections[i]);
            float* row = output + (i * stride);
            for (nint e = 0; e < stride; e += 16) T.Store(row + e, T.Load(row + e) * factor);
        }
    }

    private readonly void Finish<T>(nint count, float* output, nint stride, float* o, float* state, float* logarithms)
        where T : struct, ILanes<T>
    {
        T one = T.Broadcast(1f), scale = T.Broadcast(Shape.Dropout.Scale);
        for (nint c = 0; c < count; c += 16)
        {
            T max = T.Load(state + c);
            T sum = T.Load(state + Tile + c);
            // A query without any key has no sum.
            T empty = T.Equal(max, T.Broadcast(float.NegativeInfinity));
            T.Store(state + Tile + c, one / T.Select(empty, one, sum) * scale);
            T logarithm = T.Select(empty, T.Broadcast(float.PositiveInfinity), max + LaneMath.Log(sum));
            T.StorePartial(logarithms + c, logarithm, (int)Math.Min(16, count - c));
        }
        for (nint i = 0; i < count; i++, output += stride, o += O.Time)
        {
            T factor = T.Broadcast(state[Tile + i]);
            nint e = 0;
            for (; e <= Shape.Width - 16; e += 16) T.Store(o + e, T.Load(output + e) * factor);
            int rest = (int)(Shape.Width - e);
            if (rest > 0) T.StorePartial(o + e, T.Load(output + e) * factor, rest);
        }
    }

    private struct Scratch
    {
        /// <summary>The head that comes next.</summary>
        public HeadPrefetch Prefetch;

        /// <summary>Floats from row to row of values and output.</summary>
        public nint Stride;

        /// <summary>(width, 64): the block's keys, transposed.</summary>
        public float* Keys;

        /// <summary>(64, stride): the block's values.</summary>
        public float* Values;

        /// <summary>(64, 32): a tile's scores, then weights; a key's in a row.</summary>
        public float* Scores;

        /// <summary>(32, stride) for each tile: the output so far.</summary>
        public float* Output;

        /// <summary>(3, 32) for each tile: maxima, sums and the last corrections.</summary>
        public float* State;

        /// <summary>(width, 32) for each tile: its queries, transposed.</summary>
        public float* Queries;

        /// <summary>(2, 32): which weights of a tile are not dropped.</summary>
        public uint* Kept;
    }
}
