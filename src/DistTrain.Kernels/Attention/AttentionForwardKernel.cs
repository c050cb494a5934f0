using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// The forward pass: see <see cref="Attention"/>. A tile of up to 32 queries meets all its keys before the next one
/// begins. Queries lie along the lanes, so that the softmax's maxima and sums need no shuffles: the tile's queries are
/// transposed once, keys and values are read where they are.
/// </summary>
internal unsafe struct AttentionForwardKernel : IRangeKernel
{
    private const int Tile = AttentionShape.Group;

    // Queries of one item of work.
    private const int PartQueries = 256;

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
        // The tile's queries, transposed; scores, then weights, of a key block; and maximum, sum, correction of each query.
        float* queries = Workspace.Get((Shape.Width * Tile) + (Attention.KeyBlock * Tile) + (3 * Tile));
        float* scores = queries + (Shape.Width * Tile);
        float* state = scores + (Attention.KeyBlock * Tile);
        nint parts = Parts;
        for (nint item = begin; item < end; item++)
        {
            nint head = item / parts;
            nint example = head / Shape.Heads;
            nint first = item % parts * PartQueries;
            nint last = Math.Min(first + PartQueries, Shape.Queries);
            nint keys = Shape.KeysOf(example);
            float* q = Q.At(example, head % Shape.Heads);
            float* k = K.At(example, head % Shape.Heads);
            float* v = V.At(example, head % Shape.Heads);
            float* o = O.At(example, head % Shape.Heads);
            float* logarithms = Logarithms + (head * Shape.Queries);
            for (nint i = first; i < last;)
            {
                nint count = Math.Min(Shape.TileEnd(i), last) - i;
                AttentionTiles.Transpose<T>(q + (i * Q.Time), Q.Time, count, Shape.Width, queries, Tile);
                RunTile<T>(i, count, Shape.Limit(i, keys), queries, k, v, o + (i * O.Time), scores, state);
                Finish<T>(count, o + (i * O.Time), state, logarithms + i);
                i += count;
            }
        }
    }

    private readonly void RunTile<T>(nint first, nint count, nint keys, float* queries, float* k, float* v, float* o, float* scores, float* state)
        where T : struct, ILanes<T>
    {
        for (int c = 0; c < Tile; c += 16)
        {
            T.Store(state + c, T.Broadcast(float.NegativeInfinity));
            T.Store(state + Tile + c, T.Zero);
        }
        if (keys == 0) AttentionTiles.Clear(o, O.Time, count, Shape.Width);
        for (nint j = 0; j < keys; j += Attention.KeyBlock)
        {
            nint block = Math.Min(Attention.KeyBlock, keys - j);
            AttentionTiles.Multiply<T>(block, Tile, Shape.Width, k + (j * K.Time), K.Time, 1, queries, Tile, add: false, scores, Tile);
            if (Shape.Causal) Exclude<T>(scores, block, first + Shape.Offset - j);
            for (int c = 0; c < Tile; c += 16) Weigh<T>(scores + c, block, state + c);
            if (j > 0) Correct<T>(count, o, state + (2 * Tile));
            AttentionTiles.Multiply<T>(count, Shape.Width, block, scores, 1, Tile, v + (j * V.Time), V.Time, add: j > 0, o, O.Time);
        }
    }

    /// <summary>-∞ where key r lies beyond query <paramref name="position"/> + lane, both counted from the block's first key.</summary>
    private static void Exclude<T>(float* scores, nint block, nint position)
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

    /// <summary>Turns 16 queries' scores into weights and moves their maximum, sum and correction on.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Weigh<T>(float* scores, nint block, float* state)
        where T : struct, ILanes<T>
    {
        T scale = T.Broadcast(Shape.Scale);
        T lowest = T.Broadcast(float.NegativeInfinity);
        T a = lowest, b = lowest;
        nint r = 0;
        for (; r <= block - 2; r += 2)
        {
            a = T.Larger(T.Load(scores + (r * Tile)), a);
            b = T.Larger(T.Load(scores + ((r + 1) * Tile)), b);
        }
        if (r < block) a = T.Larger(T.Load(scores + (r * Tile)), a);
        T old = T.Load(state);
        T max = T.Larger(T.Larger(a, b) * scale, old);
        T shift = T.Zero - T.Select(T.Equal(max, lowest), T.Zero, max);
        T correction = LaneMath.ExpUpTo89(old + shift);
        T sum = T.Load(state + Tile) * correction;
        for (r = 0; r < block; r++)
        {
            T p = LaneMath.ExpUpTo89(T.Fma(T.Load(scores + (r * Tile)), scale, shift));
            T.Store(scores + (r * Tile), p);
            sum += p;
        }
        T.Store(state, max);
        T.Store(state + Tile, sum);
        T.Store(state + (2 * Tile), correction);
    }

    private readonly void Correct<T>(nint count, float* o, float* corrections)
        where T : struct, ILanes<T>
    {
        for (nint i = 0; i < count; i++)
        {
            // Multiplying by 1 changes nothing.
            if (corrections[i] == 1f) continue;
            T factor = T.Broadcast(corrections[i]);
            float* row = o + (i * O.Time);
            nint e = 0;
            for (; e <= Shape.Width - 16; e += 16) T.Store(row + e, T.Load(row + e) * factor);
            int rest = (int)(Shape.Width - e);
            if (rest > 0) T.StorePartial(row + e, T.LoadPartial(row + e, rest) * factor, rest);
        }
    }

    private readonly void Finish<T>(nint count, float* o, float* state, float* logarithms)
        where T : struct, ILanes<T>
    {
        for (nint c = 0; c < count; c += 16)
        {
            T max = T.Load(state + c);
            T sum = T.Load(state + Tile + c);
            // A query without any key has no sum.
            T empty = T.Equal(max, T.Broadcast(float.NegativeInfinity));
            T.Store(state + Tile + c, T.Select(empty, T.Broadcast(1f), sum));
            T logarithm = T.Select(empty, T.Broadcast(float.PositiveInfinity), max + LaneMath.Log(sum));
            T.StorePartial(logarithms + c, logarithm, (int)Math.Min(16, count - c));
        }
        for (nint i = 0; i < count; i++)
        {
            T divisor = T.Broadcast(state[Tile + i]);
            float* row = o + (i * O.Time);
            nint e = 0;
            for (; e <= Shape.Width - 16; e += 16) T.Store(row + e, T.Load(row + e) / divisor);
            int rest = (int)(Shape.Width - e);
            if (rest > 0) T.StorePartial(row + e, T.LoadPartial(row + e, rest) / divisor, rest);
        }
    }
}
