namespace DistTrain.Kernels;

/// <summary>
/// Sixteen fp32 lanes: one 512-bit vector, two of 256 bits, four of 128 bits, or sixteen floats. Kernels are written
/// once over this type; all its operations are exact or correctly rounded lane by lane, so every width gives the same
/// bits, and a reduction over 16 lanes means the same everywhere.
/// </summary>
internal unsafe interface ILanes<T> : IArithmetic<T>
    where T : struct, ILanes<T>
{
    /// <summary>How many rows of 16 lanes the registers hold as accumulators of a matrix tile.</summary>
    static abstract int TileRows { get; }

    /// <summary>How many columns of 16 lanes such a tile has: 1 or 2.</summary>
    static abstract int TileBlocks { get; }

    /// <summary>A float of memory in all lanes: one load, no shuffle, which would take an arithmetic port's time.</summary>
    static abstract T BroadcastFrom(float* source);

    static abstract T Load(float* source);

    static abstract void Store(float* target, T value);

    /// <summary>Loads the first <paramref name="count"/> lanes (0 to 16) and touches no memory beyond; the others are +0.</summary>
    static abstract T LoadPartial(float* source, int count);

    /// <summary>Stores the first <paramref name="count"/> lanes (0 to 16) and touches no memory beyond.</summary>
    static abstract void StorePartial(float* target, T value, int count);

    /// <summary>Stores past the caches, for what is not read again soon; the target is a multiple of 64 bytes.</summary>
    static abstract void StoreStreaming(float* target, T value);

    /// <summary>Loads 16 16-bit integers, zero-extended to 32 bits.</summary>
    static abstract T LoadUInt16(ushort* source);

    /// <summary>Stores the low 16 bits of each lane, whose upper halves are zero.</summary>
    static abstract void StoreUInt16(ushort* target, T value);

    /// <summary>Loads 16 8-bit integers, sign-extended to 32 bits.</summary>
    static abstract T LoadInt8(sbyte* source);

    /// <summary>Stores the low 8 bits of each lane, whose integers fit into them.</summary>
    static abstract void StoreInt8(sbyte* target, T value);

    /// <summary>
    /// Transposes a block of 16 rows by 4 columns: row i at source + i·stride, column j in the j-th result. Rows from
    /// <paramref name="rows"/> (4, 8, 12 or 16) on are not read; their lanes hold anything.
    /// </summary>
    static abstract void LoadColumns(float* source, nint stride, int rows, out T c0, out T c1, out T c2, out T c3);

    /// <summary>IEEE 754:2019 maximum: a NaN operand gives NaN, +0 is above -0.</summary>
    static abstract T Max(T a, T b);

    /// <summary>All ones in the lanes below <paramref name="count"/>.</summary>
    static abstract T FirstLanes(int count);

    /// <summary>Lane 0.</summary>
    static abstract float First(T a);

    /// <summary>The sum along the fixed tree: lane i joins lane i+8, then i+4, i+2, i+1.</summary>
    static abstract float Sum(T a);

    /// <summary>The IEEE maximum of all lanes along the same tree.</summary>
    static abstract float MaxOf(T a);

    /// <summary><see cref="Sum"/> in all lanes.</summary>
    static abstract T SumInAll(T a);

    /// <summary>The largest lane in all lanes. No lane may be NaN; which of two zeros it gives is open.</summary>
    static abstract T LargestInAll(T a);
}
