namespace DistTrain.Kernels;

/// <summary>
/// Where the vectors of an attention operand lie: element i of example b, time t and head h is at
/// pointer[b·batch + t·time + h·head + i]. So the three parts of a packed (batch, time, 3, heads, width) projection are
/// views of it: strides time·3·heads·width, 3·heads·width and width, each part heads·width floats behind the last.
/// </summary>
/// <param name="pointer">Element 0 of example, time and head 0.</param>
/// <param name="batch">Floats from one example to the next.</param>
/// <param name="time">Floats from one time to the next.</param>
/// <param name="head">Floats from one head to the next.</param>
public readonly unsafe struct HeadsView(float* pointer, nint batch, nint time, nint head)
{
    /// <summary>Element 0 of example, time and head 0.</summary>
    public float* Pointer { get; } = pointer;

    /// <summary>Floats from one example to the next.</summary>
    public nint Batch { get; } = batch;

    /// <summary>Floats from one time to the next.</summary>
    public nint Time { get; } = time;

    /// <summary>Floats from one head to the next.</summary>
    public nint Head { get; } = head;

    /// <summary>The view of a contiguous (batch, time, heads, width) array.</summary>
    public static HeadsView Contiguous(float* pointer, nint times, nint heads, nint width) =>
        new(pointer, times * heads * width, heads * width, width);

    internal float* At(nint example, nint head) => Pointer + (example * Batch) + (head * Head);

    /// <summary>How many floats the view spans.</summary>
    internal nint Extent(in AttentionShape shape, nint times) =>
        shape.Batch == 0 || times == 0 || shape.Heads == 0
            ? 0
            : ((shape.Batch - 1) * Batch) + ((times - 1) * Time) + ((shape.Heads - 1) * Head) + shape.Width;
}

/// <summary>The sizes of an attention and who may see whom.</summary>
public unsafe struct AttentionShape
{
    /// <summary>How many examples.</summary>
    public nint Batch { get; set; }

    /// <summary>How many heads.</summary>
    public nint Heads { get; set; }

    /// <summary>How many times the queries, the output and their gradients have.</summary>
    public nint Queries { get; set; }

    /// <summary>How many times the keys, the values and their gradients have.</summary>
    public nint Keys { get; set; }

    /// <summary>The width of a head, 1 to 1,024.</summary>
    public nint Width { get; set; }

    /// <summary>What the inner products are multiplied by, above zero; 1/√width as a rule.</summary>
    public float Scale { get; set; }

    /// <summary>Whether query i sees only the keys up to i + <see cref="Offset"/>.</summary>
    public bool Causal { get; set; }

    /// <summary>
    /// How far a query sees: keys less than so many positions before i + <see cref="Offset"/>, and as few behind it where it is
    /// not <see cref="Causal"/>; 0 for all.
    /// </summary>
    public nint Window { get; set; }

    /// <summary>Which weights are dropped; none as a rule.</summary>
    public AttentionDropout Dropout { get; set; }

    /// <summary>The position of query 0 among the keys, for <see cref="Causal"/> and <see cref="Window"/>; 0 as a rule.</summary>
    public nint Offset { get; set; }

    /// <summary>(batch): how many keys of each example are there, the others being padding; null for all.</summary>
    public int* Lengths { get; set; }

    /// <summary>The frontier's granule: queries in one group of this many positions share their limit.</summary>
    internal const int Group = 32;

    /// <summary>The keys of an example.</summary>
    internal readonly nint KeysOf(nint example) => Lengths == null ? Keys : Lengths[example];

    /// <summary>Whether there is a last key that a query sees.</summary>
    internal readonly bool Bounded => Causal || Window > 0;

    /// <summary>That key's place, counted from the query's.</summary>
    internal readonly nint Reach => Causal || Window == 0 ? Offset : Offset + Window - 1;

    /// <summary>The first key that a query sees, counted from the query's place; meant for a <see cref="Window"/>.</summary>
    internal readonly nint Back => Offset - Window + 1;

    /// <summary>
    /// Where the keys end that take part for a query: where it sees a last one, behind that, rounded up to a multiple of
    /// <see cref="Group"/>. Those it does not see weigh +0.
    /// </summary>
    internal readonly nint Limit(nint query, nint keys)
    {
        if (!Bounded) return keys;
        nint position = query + Reach;
        return position < 0 ? 0 : Math.Min(((position / Group) + 1) * Group, keys);
    }

    /// <summary>
    /// The first key that takes part for a query: under a <see cref="Window"/> the first one that the first query of its group
    /// sees, rounded down to a multiple of <see cref="Attention.KeyBlock"/>.
    /// </summary>
    internal readonly nint Start(nint query)
    {
        if (Window == 0) return 0;
        nint key = query - IntoGroup(query) + Back;
        return key <= 0 ? 0 : key / Attention.KeyBlock * Attention.KeyBlock;
    }

    /// <summary>The end of the queries from <paramref name="query"/> on that have one limit, at most a group of them.</summary>
    internal readonly nint TileEnd(nint query)
    {
        nint end = query + Group;
        if (Bounded) end -= IntoGroup(query);
        return Math.Min(end, Queries);
    }

    /// <summary>A query's place in its group, which begins where the last key that it sees is a multiple of <see cref="Group"/>.</summary>
    private readonly nint IntoGroup(nint query)
    {
        nint beyond = (query + Reach) % Group;
        return beyond < 0 ? beyond + Group : beyond;
    }
}
