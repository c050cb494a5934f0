using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>Which gradients a run computes.</summary>
internal enum AttentionPart
{
    /// <summary>All of a head, which is the item of work.</summary>
    All,

    /// <summary>Those of keys and values; an item is a few key blocks of a head.</summary>
    Keys,

    /// <summary>That of the queries; an item is some queries of a head.</summary>
    Queries,
}

/// <summary>
/// The backward pass: see <see cref="Attention"/>. Key blocks go by on the outside, tiles of queries within; so dk and
/// dv of a block are finished with it, and dq grows from block to block. Keys lie along the lanes: a block's keys and
/// values are transposed once. As in the forward pass all products work on copies.
/// </summary>
internal unsafe struct AttentionBackwardKernel : IRangeKernel
{
    private const int Block = Attention.KeyBlock;
    private const int Tile = AttentionShape.Group;

    // Keys or queries of one item of work, when it is not a whole head.
    private const int PartTimes = 256;

    public AttentionShape Shape;
    public HeadsView Q;
    public HeadsView K;
    public HeadsView V;
    public HeadsView O;
    public float* Logarithms;
    public HeadsView GradientO;
    public HeadsView GradientQ;
    public HeadsView GradientK;
    public HeadsView GradientV;
    public AttentionPart Part;

    /// <summary>How many items a head is.</summary>
    public readonly nint Parts => Part switch
    {
        AttentionPart.All => 1,
        AttentionPart.Keys => (Shape.Keys + PartTimes - 1) / PartTimes,
        _ => (Shape.Queries + PartTimes - 1) / PartTimes,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        nint width = Shape.Width;
        nint stride = AttentionTiles.Stride(width);
        nint queries = Part == AttentionPart.Queries ? PartTimes : Shape.Queries;
        // Cut at frontiers the queries may make one tile more.
        nint tiles = ((queries + Tile - 1) / Tile) + 1;
        Unsafe.SkipInit(out Scratch s);
        s.Stride = stride;
        s.Keys = Workspace.Get((2 * width * Block) + (2 * Tile * Block) + (3 * Block * stride) + (queries * ((3 * stride) + 1)) + 16 + (2 * tiles * Tile * width) + AttentionDropoutTile.Words);
        s.Values = s.Keys + (width * Block);
        s.Weights = s.Values + (width * Block);
        s.Gradients = s.Weights + (Tile * Block);
        s.KeyRows = s.Gradients + (Tile * Block);
        s.GradientK = s.KeyRows + (Block * stride);
        s.GradientV = s.GradientK + (Block * stride);
        s.Queries = s.GradientV + (Block * stride);
        s.GradientO = s.Queries + (queries * stride);
        s.GradientQ = s.GradientO + (queries * stride);
        s.TileQueries = s.GradientQ + (queries * stride);
        s.TileGradients = s.TileQueries + (tiles * Tile * width);
        s.Kept = (uint*)(s.TileGradients + (tiles * Tile * width));
        s.Products = (float*)(s.Kept + AttentionDropoutTile.Words);
        nint parts = Parts;
        for (nint item = begin; item < end; item++)
        {
            nint head = item / parts;
            nint part = item % parts * PartTimes;
            nint firstQuery = Part == AttentionPart.Queries ? part : 0;
            nint lastQuery = Part == AttentionPart.Queries ? Math.Min(part + PartTimes, Shape.Queries) : Shape.Queries;
            nint firstKey = Part == AttentionPart.Keys ? part : 0;
            nint lastKey = Part == AttentionPart.Keys ? Math.Min(part + PartTimes, Shape.Keys) : Shape.Keys;
            PrepareNext<T>(ref s, item + 1 < end && Part == AttentionPart.All ? head + 1 : -1);
            RunItem<T>(ref s, head, firstQuery, lastQuery, firstKey, lastKey);
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
        s.Prefetch.Add(GradientO.At(example, index), GradientO.Time);
        s.Prefetch.Add(GradientQ.At(example, index), GradientQ.Time);
        s.Prefetch.Add(GradientK.At(example, index), GradientK.Time);
        s.Prefetch.Add(GradientV.At(example, index), GradientV.Time);
        nint pairs = (Shape.Queries + Tile - 1) / Tile * ((Shape.Keys + Block - 1) / Block);
        nint tiles = (2 * AttentionTiles.Tiles<T>(Tile, Block)) + (2 * AttentionTiles.Tiles<T>(Block, Shape.Width)) + AttentionTiles.Tiles<T>(Tile, Shape.Width);
        s.Prefetch.Spread(pairs * tiles);
    }

    private readonly void RunItem<T>(ref Scratch s, nint head, nint firstQuery, nint lastQuery, nint firstKey, nint lastKey)
        where T : struct, ILanes<T>
    {
        nint width = Shape.Width;
        nint example = head / Shape.Heads;
        nint index = head % Shape.Heads;
        nint count = lastQuery - firstQuery;
        float* logarithms = Logarithms + (head * Shape.Queries) + firstQuery;
        float* q = Q.At(example, index) + (firstQuery * Q.Time);
        float* o = O.At(example, index) + (firstQuery * O.Time);
        float* g = GradientO.At(example, index) + (firstQuery * GradientO.Time);
        AttentionTiles.Gather<T>(q, Q.Time, count, width, s.Queries, s.Stride);
        AttentionTiles.Gather<T>(g, GradientO.Time, count, width, s.GradientO, s.Stride);
        TransposeTiles<T>(ref s, firstQuery, lastQuery);
        Multiply<T>(count, o, s.GradientO, s.Stride, s.Products);
        if (Part != AttentionPart.Keys) AttentionTiles.Clear<T>(s.GradientQ, count * s.Stride);
        nint keys = Shape.KeysOf(example);
        for (nint j = firstKey; j < lastKey; j += Block)
        {
            nint block = Math.Min(Block, lastKey - j);
            nint present = Math.Clamp(keys - j, 0, block);
            if (Part != AttentionPart.Queries)
            {
                AttentionTiles.Clear<T>(s.GradientK, block * s.Stride);
                AttentionTiles.Clear<T>(s.GradientV, block * s.Stride);
            }
            if (present > 0)
            {
                AttentionTiles.Gather<T>(K.At(example, index) + (j * K.Time), K.Time, present, width, s.KeyRows, s.Stride);
                AttentionTiles.Transpose<T>(s.KeyRows, s.Stride, present, width, s.Keys, Block);
                AttentionTiles.Transpose<T>(V.At(example, index) + (j * V.Time), V.Time, present, width, s.Values, Block);
                RunBlock<T>(ref s, head, j, keys, firstQuery, lastQuery, logarithms);
            }
            if (Part == AttentionPart.Queries) continue;
            AttentionTiles.Scatter<T>(s.GradientK, s.Stride, block, width, GradientK.At(example, index) + (j * GradientK.Time), GradientK.Time);
            AttentionTiles.Scatter<T>(s.GradientV, s.Stride, block, width, GradientV.At(example, index) + (j * GradientV.Time), GradientV.Time);
        }
        if (Part != AttentionPart.Keys)
            AttentionTiles.Scatter<T>(s.GradientQ, s.Stride, count, width, GradientQ.At(example, index) + (firstQuery * GradientQ.Time), GradientQ.Time);
    }

    private readonly void TransposeTiles<T>(ref Scratch s, nint firstQuery, nint lastQuery)
        where T : struct, ILanes<T>
    {
        nint tile = 0;
        for (nint i = firstQuery; i < lastQuery; tile++)
        {
            nint count = Math.Min(Shape.TileEnd(i), lastQuery) - i;
            nint offset = (i - firstQuery) * s.Stride;
            AttentionTiles.Transpose<T>(s.Queries + offset, s.Stride, count, Shape.Width, s.TileQueries + (tile * Tile * Shape.Width), Tile);
            AttentionTiles.Transpose<T>(s.GradientO + offset, s.Stride, count, Shape.Width, s.TileGradients + (tile * Tile * Shape.Width), Tile);
            i += count;
        }
    }

    /// <summary>The inner products of output and gradient.</summary>
    private readonly void Multiply<T>(nint count, float* o, float* g, nint stride, float* products)
        where T : struct, ILanes<T>
    {
        nint width = Shape.Width;
        for (nint i = 0; i < count; i++, o += O.Time, g += stride)
        {
            T sum = T.Zero;
            nint e = 0;
            for (; e <= width - 16; e += 16) sum = T.Fma(T.Load(g + e), T.Load(o + e), sum);
            int rest = (int)(width - e);
            if (rest > 0) sum = T.Fma(T.Load(g + e), T.LoadPartial(o + e, rest), sum);
            products[i] = T.Sum(sum);
        }
    }

    private readonly void RunBlock<T>(ref Scratch s, nint head, nint j, nint keys, nint firstQuery, nint lastQuery, float* logarithms)
        where T : struct, ILanes<T>
    {
        nint tile = 0;
        for (nint i = firstQuery; i < lastQuery; tile++)
        {
            nint count = Math.Min(Shape.TileEnd(i), lastQuery) - i;
            nint present = Math.Min(Block, Shape.Limit(i, keys) - j);
            if (present > 0 && j >= Shape.Start(i))
            {
                if (Shape.Dropout.Drops) AttentionDropoutTile.Draw<T>(in Shape, head, i, count, j, present, s.Kept);
                nint end = Shape.Bounded ? i + Shape.Reach - j + 1 : Block;
                nint start = Shape.Window > 0 ? i + Shape.Back - j : -Tile;
                RunTile<T>(ref s, tile, i - firstQuery, count, present, start, end, logarithms + i - firstQuery);
            }
            i += count;
        }
    }

    /// <summary>A tile of queries, from <paramref name="i"/> on in the scratch's terms, meets the block's first <paramref name="present"/> keys.</summary>
    private readonly void RunTile<T>(ref Scratch s, nint tile, nint i, nint count, nint present, nint start, nint end, float* logarithms)
        where T : struct, ILanes<T>
    {
        nint width = Shape.Width;
        nint stride = s.Stride;
        nint vectors = (width + 15) & ~15;
        nint lanes = (present + 15) & ~15;
        float* q = s.Queries + (i * stride);
        float* g = s.GradientO + (i * stride);
        nint transposed = tile * Tile * width;
        AttentionTiles.Multiply<T>(count, lanes, width, s.TileQueries + transposed, 1, Tile, s.Keys, Block, add: false, s.Weights, Block, ref s.Prefetch);
        AttentionTiles.Multiply<T>(count, lanes, width, s.TileGradients + transposed, 1, Tile, s.Values, Block, add: false, s.Gradients, Block, ref s.Prefetch);
        if (Shape.Dropout.Drops) AttentionDropoutTile.DropByQueries<T>(s.Kept, s.Gradients, count, lanes, Shape.Dropout.Scale);
        Weigh<T>(count, lanes, s.Weights, s.Gradients, logarithms, s.Products + i, start, end);
        if (Shape.Dropout.Drops) AttentionDropoutTile.DropByQueries<T>(s.Kept, s.Weights, count, lanes, Shape.Dropout.Scale);
        if (Part != AttentionPart.Queries)
        {
            AttentionTiles.Multiply<T>(present, vectors, count, s.Weights, 1, Block, g, stride, add: true, s.GradientV, stride, ref s.Prefetch);
            AttentionTiles.Multiply<T>(present, vectors, count, s.Gradients, 1, Block, q, stride, add: true, s.GradientK, stride, ref s.Prefetch);
        }
        if (Part != AttentionPart.Keys)
            AttentionTiles.Multiply<T>(count, vectors, present, s.Gradients, Block, 1, s.KeyRows, stride, add: true, s.GradientQ + (i * stride), stride, ref s.Prefetch);
    }

    /// <summary>
    /// Turns scores into weights and the weights' gradients into those of the scores. Query r sees the block's keys from
    /// <paramref name="start"/> + r to before <paramref name="end"/> + r.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Weigh<T>(nint count, nint lanes, float* weights, float* gradients, float* logarithms, float* products, nint start, nint end)
        where T : struct, ILanes<T>
    {
        T scale = T.Broadcast(Shape.Scale);
        for (nint r = 0; r < count; r++)
        {
            T shift = T.Zero - T.Broadcast(logarithms[r]);
            T product = T.Broadcast(products[r]);
            float* p = weights + (r * Block);
            float* g = gradients + (r * Block);
            if (LaneMath.InFours<T>() && lanes == Block && start + r <= 0 && end + r >= Block)
            {
                T p0 = T.Fma(T.Load(p), scale, shift);
                T p1 = T.Fma(T.Load(p + 16), scale, shift);
                T p2 = T.Fma(T.Load(p + 32), scale, shift);
                T p3 = T.Fma(T.Load(p + 48), scale, shift);
                LaneMath.ExpUpTo89(ref p0, ref p1, ref p2, ref p3);
                T.Store(p, p0);
                T.Store(p + 16, p1);
                T.Store(p + 32, p2);
                T.Store(p + 48, p3);
                T.Store(g, p0 * (T.Load(g) - product) * scale);
                T.Store(g + 16, p1 * (T.Load(g + 16) - product) * scale);
                T.Store(g + 32, p2 * (T.Load(g + 32) - product) * scale);
                T.Store(g + 48, p3 * (T.Load(g + 48) - product) * scale);
                continue;
            }
            for (nint c = 0; c < lanes; c += 16)
            {
                T before = T.FirstLanes((int)(start + r - c)), mask = T.FirstLanes((int)(end + r - c));
                T weight = LaneMath.ExpUpTo89(T.Fma(T.Load(p + c), scale, shift));
                T gradient = weight * (T.Load(g + c) - product) * scale;
                T.Store(p + c, T.Select(before, T.Zero, T.And(weight, mask)));
                T.Store(g + c, T.Select(before, T.Zero, T.And(gradient, mask)));
            }
        }
    }

    private struct Scratch
    {
        /// <summary>The head that comes next.</summary>
        public HeadPrefetch Prefetch;

        /// <summary>Floats from row to row of what follows, but where it says otherwise.</summary>
        public nint Stride;

        /// <summary>(width, 64): the block's keys and values, transposed, without gaps.</summary>
        public float* Keys;

        /// <inheritdoc cref="Keys"/>
        public float* Values;

        /// <summary>(32, 64): a tile's weights, and the gradients of its weights, then of its scores, without gaps.</summary>
        public float* Weights;

        /// <inheritdoc cref="Weights"/>
        public float* Gradients;

        /// <summary>(64): the block's keys.</summary>
        public float* KeyRows;

        /// <summary>(64): the gradients of the block's keys and values.</summary>
        public float* GradientK;

        /// <inheritdoc cref="GradientK"/>
        public float* GradientV;

        /// <summary>(queries): of the item's queries.</summary>
        public float* Queries;

        /// <inheritdoc cref="Queries"/>
        public float* GradientO;

        /// <inheritdoc cref="Queries"/>
        public float* GradientQ;

        /// <summary>(width, 32) for each tile: its queries, and the gradients of its outputs, transposed.</summary>
        public float* TileQueries;

        /// <inheritdoc cref="TileQueries"/>
        public float* TileGradients;

        /// <summary>(2, 32): which weights of a tile are not dropped.</summary>
        public uint* Kept;

        /// <summary>(queries): dO·o of each, one float.</summary>
        public float* Products;
    }
}
