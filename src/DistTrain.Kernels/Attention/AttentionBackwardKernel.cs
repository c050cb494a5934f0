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
/// values are transposed once.
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
        Unsafe.SkipInit(out Head h);
        h.Keys = Workspace.Get((2 * width * Block) + (2 * Tile * Block) + Shape.Queries + 16);
        h.Values = h.Keys + (width * Block);
        h.Weights = h.Values + (width * Block);
        h.Gradients = h.Weights + (Tile * Block);
        h.Products = h.Gradients + (Tile * Block);
        nint parts = Parts;
        for (nint item = begin; item < end; item++)
        {
            nint head = item / parts;
            nint example = head / Shape.Heads;
            h.Index = head % Shape.Heads;
            h.Example = example;
            h.Logarithms = Logarithms + (head * Shape.Queries);
            nint part = item % parts * PartTimes;
            nint firstQuery = Part == AttentionPart.Queries ? part : 0;
            nint lastQuery = Part == AttentionPart.Queries ? Math.Min(part + PartTimes, Shape.Queries) : Shape.Queries;
            nint firstKey = Part == AttentionPart.Keys ? part : 0;
            nint lastKey = Part == AttentionPart.Keys ? Math.Min(part + PartTimes, Shape.Keys) : Shape.Keys;
            Prepare<T>(in h, firstQuery, lastQuery, firstKey, lastKey);
            nint keys = Shape.KeysOf(example);
            for (nint j = firstKey; j < Math.Min(lastKey, keys); j += Block) RunBlock<T>(in h, j, keys, firstQuery, lastQuery);
        }
    }

    /// <summary>The inner products of output and gradient, and the gradients that begin at +0.</summary>
    private readonly void Prepare<T>(in Head h, nint firstQuery, nint lastQuery, nint firstKey, nint lastKey)
        where T : struct, ILanes<T>
    {
        nint width = Shape.Width;
        float* o = O.At(h.Example, h.Index);
        float* g = GradientO.At(h.Example, h.Index);
        for (nint i = firstQuery; i < lastQuery; i++)
        {
            float* x = o + (i * O.Time);
            float* y = g + (i * GradientO.Time);
            T sum = T.Zero;
            nint e = 0;
            for (; e <= width - 16; e += 16) sum = T.Fma(T.Load(y + e), T.Load(x + e), sum);
            int rest = (int)(width - e);
            if (rest > 0) sum = T.Fma(T.LoadPartial(y + e, rest), T.LoadPartial(x + e, rest), sum);
            h.Products[i] = T.Sum(sum);
        }
        if (Part != AttentionPart.Keys)
            AttentionTiles.Clear(GradientQ.At(h.Example, h.Index) + (firstQuery * GradientQ.Time), GradientQ.Time, lastQuery - firstQuery, width);
        if (Part != AttentionPart.Queries)
        {
            AttentionTiles.Clear(GradientK.At(h.Example, h.Index) + (firstKey * GradientK.Time), GradientK.Time, lastKey - firstKey, width);
            AttentionTiles.Clear(GradientV.At(h.Example, h.Index) + (firstKey * GradientV.Time), GradientV.Time, lastKey - firstKey, width);
        }
    }

    private readonly void RunBlock<T>(in Head h, nint j, nint keys, nint firstQuery, nint lastQuery)
        where T : struct, ILanes<T>
    {
        nint width = Shape.Width;
        nint block = Math.Min(Block, keys - j);
        float* k = K.At(h.Example, h.Index) + (j * K.Time);
        float* v = V.At(h.Example, h.Index) + (j * V.Time);
        AttentionTiles.Transpose<T>(k, K.Time, block, width, h.Keys, Block);
        AttentionTiles.Transpose<T>(v, V.Time, block, width, h.Values, Block);
        for (nint i = firstQuery; i < lastQuery;)
        {
            nint count = Math.Min(Shape.TileEnd(i), lastQuery) - i;
            nint present = Math.Min(block, Shape.Limit(i, keys) - j);
            if (present > 0) RunTile<T>(in h, i, count, j, present, k);
            i += count;
        }
    }

    private readonly void RunTile<T>(in Head h, nint i, nint count, nint j, nint present, float* k)
        where T : struct, ILanes<T>
    {
        nint width = Shape.Width;
        float* q = Q.At(h.Example, h.Index) + (i * Q.Time);
        float* g = GradientO.At(h.Example, h.Index) + (i * GradientO.Time);
        nint lanes = (present + 15) & ~15;
        AttentionTiles.Multiply<T>(count, lanes, width, q, Q.Time, 1, h.Keys, Block, add: false, h.Weights, Block);
        AttentionTiles.Multiply<T>(count, lanes, width, g, GradientO.Time, 1, h.Values, Block, add: false, h.Gradients, Block);
        nint visible = Shape.Causal ? i + Shape.Offset - j + 1 : nint.MaxValue / 2;
        Weigh<T>(count, lanes, h.Weights, h.Gradients, h.Logarithms + i, h.Products + i, visible);
        if (Part != AttentionPart.Queries)
        {
            float* dk = GradientK.At(h.Example, h.Index) + (j * GradientK.Time);
            float* dv = GradientV.At(h.Example, h.Index) + (j * GradientV.Time);
            AttentionTiles.Multiply<T>(present, width, count, h.Weights, 1, Block, g, GradientO.Time, add: true, dv, GradientV.Time);
            AttentionTiles.Multiply<T>(present, width, count, h.Gradients, 1, Block, q, Q.Time, add: true, dk, GradientK.Time);
        }
        if (Part != AttentionPart.Keys)
        {
            float* dq = GradientQ.At(h.Example, h.Index) + (i * GradientQ.Time);
            AttentionTiles.Multiply<T>(count, width, present, h.Gradients, Block, 1, k, K.Time, add: true, dq, GradientQ.Time);
        }
    }

    /// <summary>
    /// Turns scores into weights and the weights' gradients into those of the scores. Query r sees the first
    /// <paramref name="visible"/> + r keys of the block.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Weigh<T>(nint count, nint lanes, float* weights, float* gradients, float* logarithms, float* products, nint visible)
        where T : struct, ILanes<T>
    {
        T scale = T.Broadcast(Shape.Scale);
        for (nint r = 0; r < count; r++)
        {
            T shift = T.Zero - T.Broadcast(logarithms[r]);
            T product = T.Broadcast(products[r]);
            float* p = weights + (r * Block);
            float* g = gradients + (r * Block);
            nint seen = visible + r;
            for (nint c = 0; c < lanes; c += 16)
            {
                T weight = LaneMath.ExpUpTo89(T.Fma(T.Load(p + c), scale, shift));
                T gradient = weight * (T.Load(g + c) - product) * scale;
                if (seen < c + 16)
                {
                    T mask = T.FirstLanes((int)(seen - c));
                    weight = T.And(weight, mask);
                    gradient = T.And(gradient, mask);
                }
                T.Store(p + c, weight);
                T.Store(g + c, gradient);
            }
        }
    }

    /// <summary>The head that is being worked on, and room for a key block of it.</summary>
    private struct Head
    {
        public nint Example;
        public nint Index;
        public float* Logarithms;

        /// <summary>(width, 64): the block's keys and values, transposed.</summary>
        public float* Keys;

        /// <inheritdoc cref="Keys"/>
        public float* Values;

        /// <summary>(32, 64): a tile's weights, and the gradients of its weights, then of its scores.</summary>
        public float* Weights;

        /// <inheritdoc cref="Weights"/>
        public float* Gradients;

        /// <summary>(queries): dO·o.</summary>
        public float* Products;
    }
}
