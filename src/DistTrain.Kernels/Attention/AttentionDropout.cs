namespace DistTrain.Kernels;

/// <summary>
/// Dropout of attention's weights, as PyTorch's MultiheadAttention has it: behind the softmax, whose sums know nothing of it.
/// The weight of a key is kept where its 24 random bits are not below rate·2^24, and then multiplied by 1 / (1 - rate). The
/// random number is that of (seed, purpose), the step (place·heads + head)·2^32 + <paramref name="Step"/>, place being the
/// example's in the mini-batch, and element query·(32·words) + key, words = ⌈keys / 32⌉: of these alone.
/// </summary>
/// <param name="Random">Seed and purpose.</param>
/// <param name="Step">The training step, below 2^32.</param>
/// <param name="Place">The first example's place in the mini-batch; the others follow.</param>
/// <param name="Rate">The probability that a weight is dropped, from 0 to below 1.</param>
public readonly record struct AttentionDropout(KeyedRandom Random, ulong Step, ulong Place, float Rate)
{
    /// <summary>Whether there is any.</summary>
    internal bool Drops => Rate > 0;

    /// <summary>What kept weights are multiplied by.</summary>
    internal float Scale => 1 / (1 - Rate);

    /// <summary>The step that a head's numbers are drawn for, heads counted over the examples.</summary>
    internal ulong StepOf(nint heads, nint head) => (((Place * (ulong)heads) + (ulong)head) << 32) | Step;

    internal void Check(nint batch, nint heads, nint queries, nint keys)
    {
        if (!(Rate >= 0 && Rate < 1)) throw new ArgumentOutOfRangeException(nameof(batch), Rate, "The rate of dropout must be from 0 to below 1.");
        if (!Drops) return;
        if (Step > uint.MaxValue) throw new ArgumentOutOfRangeException(nameof(batch), Step, "The step of dropout must be below 2^32.");
        ArgumentOutOfRangeException.ThrowIfGreaterThan(checked((Place + (ulong)batch) * (ulong)heads), 1UL << 32, nameof(batch));
        ArgumentOutOfRangeException.ThrowIfGreaterThan((ulong)queries * (ulong)Dropout.MaskWords(keys) * 8, 1UL << 32, nameof(queries));
    }
}

/// <summary>A tile's dropout: words of 32 keys for each query, drawn again wherever they are needed rather than kept.</summary>
internal static unsafe class AttentionDropoutTile
{
    private const int Tile = AttentionShape.Group;

    /// <summary>Words of a tile.</summary>
    public const int Words = Tile * (Attention.KeyBlock / 32);

    /// <summary>Draws a tile's words: (2, 32), those of a query in a column.</summary>
    /// <param name="shape">Sizes and dropout.</param>
    /// <param name="head">The head, counted over the examples.</param>
    /// <param name="query">The tile's first query.</param>
    /// <param name="count">How many.</param>
    /// <param name="key">The first key, a multiple of 64.</param>
    /// <param name="block">How many.</param>
    /// <param name="words">Overwritten as far as there are queries and keys.</param>
    public static void Draw<T>(in AttentionShape shape, nint head, nint query, nint count, nint key, nint block, uint* words)
        where T : struct, ILanes<T>
    {
        AttentionDropout dropout = shape.Dropout;
        KeyedRandom random = dropout.Random;
        ulong step = dropout.StepOf(shape.Heads, head);
        uint threshold = Dropout.Threshold(dropout.Rate);
        nint perQuery = Dropout.MaskWords(shape.Keys);
        for (nint half = 0; half * 32 < block; half++)
        {
            for (nint c = 0; c < count; c++)
            {
                ulong word = (ulong)(((query + c) * perQuery) + (key / 32) + half);
                words[(half * Tile) + c] = Dropout.Draw<T>(in random, step, word * 8, threshold);
            }
        }
    }

    /// <summary>+0 in place of the weights that are dropped, queries along the lanes.</summary>
    /// <param name="words">See <see cref="Draw"/>.</param>
    /// <param name="weights">(64, 32): a key's in a row.</param>
    /// <param name="block">How many keys.</param>
    public static void DropByKeys<T>(uint* words, float* weights, nint block)
        where T : struct, ILanes<T>
    {
        for (nint r = 0; r < block; r++)
        {
            T bit = T.BroadcastBits(1 << (int)(r & 31));
            float* row = weights + (r * Tile);
            float* of = (float*)(words + (r / 32 * Tile));
            for (int c = 0; c < Tile; c += 16)
            {
                T clear = T.ShiftRightArithmetic(T.SubtractBits(T.And(T.Load(of + c), bit), bit), 31);
                T.Store(row + c, T.Select(clear, T.Zero, T.Load(row + c)));
            }
        }
    }

    /// <summary>x times a factor, and +0 where a weight is dropped, keys along the lanes.</summary>
    /// <param name="words">See <see cref="Draw"/>.</param>
    /// <param name="x">(32, 64): a query's in a row.</param>
    /// <param name="count">How many queries.</param>
    /// <param name="lanes">How many keys, a multiple of 16.</param>
    /// <param name="scale">The factor.</param>
    public static void DropByQueries<T>(uint* words, float* x, nint count, nint lanes, float scale)
        where T : struct, ILanes<T>
    {
        T factor = T.Broadcast(scale);
        for (nint r = 0; r < count; r++)
        {
            float* row = x + (r * Attention.KeyBlock);
            for (nint c = 0; c < lanes; c += 16)
            {
                uint mask = words[(c / 32 * Tile) + r] >> (int)(c & 31);
                T.Store(row + c, Dropout.Where(mask, T.Load(row + c) * factor));
            }
        }
    }
}
