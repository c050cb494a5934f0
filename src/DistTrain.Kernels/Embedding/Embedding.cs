namespace DistTrain.Kernels;

/// <summary>
/// A table of vectors, looked up by number. Every number is checked at the door; a bad one is refused with its place.
/// The gradient sums, for each row of the table, the gradients of the tokens that named it: within a shard from +0 by plain
/// additions, tokens ascending, and over the shards along their tree. A shard without such a token is +0, and adding that
/// changes no sum that started from +0, so only shards that have one are visited.
/// </summary>
public static unsafe partial class Embedding
{
    private const int GrainElements = 16 * 1024;

    /// <summary>y[i] = table[ids[i]].</summary>
    /// <param name="table">(vocabulary, width).</param>
    /// <param name="vocabulary">Rows of the table.</param>
    /// <param name="width">Values of a row.</param>
    /// <param name="ids">(tokens).</param>
    /// <param name="tokens">How many ids.</param>
    /// <param name="y">(tokens, width), rows of <paramref name="strideY"/> floats; apart from the table.</param>
    /// <param name="strideY">Floats from one row of y to the next.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentOutOfRangeException">An id is no row; the message names its place.</exception>
    public static void Gather(
        float* table, nint vocabulary, nint width, int* ids, nint tokens, float* y, nint strideY, KernelPool? pool = null)
    {
        Check(vocabulary, width, ids, tokens);
        Guard.Stride(strideY, width, nameof(strideY));
        Guard.NotNull(table, tokens * width, nameof(table));
        Guard.NotNull(y, tokens * width, nameof(y));
        Guard.Apart(y, Guard.Extent(tokens, strideY, width), table, vocabulary * width);
        Guard.Apart(y, Guard.Extent(tokens, strideY, width), (float*)ids, tokens);
        RangeRunner.Run(
            new GatherKernel { Table = table, Width = width, Ids = ids, Y = y, StrideY = strideY },
            tokens,
            1,
            1 + (GrainElements / Math.Max(width, 1)),
            pool);
    }

    /// <summary>Sets the rows of a table that are named to +0: what <see cref="Gradient"/> wrote for the same ids.</summary>
    /// <param name="table">(vocabulary, width).</param>
    /// <param name="vocabulary">Rows of the table.</param>
    /// <param name="width">Values of a row.</param>
    /// <param name="ids">(tokens).</param>
    /// <param name="tokens">How many ids.</param>
    /// <exception cref="ArgumentOutOfRangeException">An id is no row; the message names its place.</exception>
    public static void ClearRows(float* table, nint vocabulary, nint width, int* ids, nint tokens)
    {
        Check(vocabulary, width, ids, tokens);
        Guard.NotNull(table, tokens * width, nameof(table));
        Guard.Apart(table, vocabulary * width, (float*)ids, tokens);
        for (nint i = 0; i < tokens; i++) Rows.Clear(table + (ids[i] * width), width);
    }

    private static void Check(nint vocabulary, nint width, int* ids, nint tokens)
    {
        Guard.Length(vocabulary, nameof(vocabulary));
        Guard.Length(width, nameof(width));
        Guard.Length(tokens, nameof(tokens));
        Guard.NotNull(ids, tokens, nameof(ids));
        for (nint i = 0; i < tokens; i++)
        {
            if ((uint)ids[i] >= (ulong)vocabulary) Guard.ThrowId(i, ids[i], vocabulary);
        }
    }

    private struct GatherKernel : IRangeKernel
    {
        public float* Table;
        public nint Width;
        public int* Ids;
        public float* Y;
        public nint StrideY;

        public readonly void Run<T>(nint begin, nint end)
            where T : struct, ILanes<T>
        {
            for (nint token = begin; token < end; token++)
            {
                float* row = Table + (Ids[token] * Width);
                float* y = Y + (token * StrideY);
                nint i = 0;
                for (; i <= Width - 16; i += 16) T.Store(y + i, T.Load(row + i));
                if (i < Width) T.StorePartial(y + i, T.LoadPartial(row + i, (int)(Width - i)), (int)(Width - i));
            }
        }
    }
}
