namespace DistTrain.Kernels;

/// <summary>
/// What a register tile works on: C(r, j) = start + Σ_k A(r, k)·B(k, j), leaf by leaf.
/// </summary>
internal unsafe struct TileArguments
{
    /// <summary>Floats of a stored tile: up to 12 rows of 32.</summary>
    public const int TileSize = 12 * 32;

    /// <summary>A(r, k) is at A[r·RowStrideA + k·StepA].</summary>
    public float* A;

    /// <inheritdoc cref="A"/>
    public nint RowStrideA;

    /// <inheritdoc cref="A"/>
    public nint StepA;

    /// <summary>B(k, j) is at B[k·StepB + j].</summary>
    public float* B;

    /// <inheritdoc cref="B"/>
    public nint StepB;

    /// <summary>(Leaves): how many k each leaf has. The leaves of a sum lie one behind the other in A and B.</summary>
    public nint* Depths;

    /// <summary>How many leaves there are, at least one. They join along the tree of <see cref="LeafTree"/>.</summary>
    public int Leaves;

    /// <summary>Room for <see cref="LeafTree.StackDepth"/> tiles of <see cref="TileSize"/>; needed when there are several leaves.</summary>
    public float* Stack;

    /// <summary>Where the first leaf's sums so far are; null to start from +0.</summary>
    public float* From;

    /// <summary>Floats between the rows of <see cref="From"/>.</summary>
    public nint FromStride;

    /// <summary>Where the result goes.</summary>
    public float* To;

    /// <summary>Floats between the rows of <see cref="To"/>.</summary>
    public nint ToStride;

    /// <summary>
    /// Whether the result goes past the caches, where the tile can: it and its rows are aligned to 64 bytes. Whoever asks for it
    /// ends with a store fence.
    /// </summary>
    public bool Streams;

    /// <summary>How many columns are real, where the tile's last block is partial.</summary>
    public int Columns;
}

/// <summary>A number that the JIT knows.</summary>
internal interface ICount
{
    static abstract int Count { get; }
}

internal readonly struct Rows1 : ICount
{
    public static int Count => 1;
}

internal readonly struct Rows2 : ICount
{
    public static int Count => 2;
}

internal readonly struct Rows4 : ICount
{
    public static int Count => 4;
}

internal readonly struct Rows6 : ICount
{
    public static int Count => 6;
}

internal readonly struct Rows8 : ICount
{
    public static int Count => 8;
}

internal readonly struct Rows10 : ICount
{
    public static int Count => 10;
}

internal readonly struct Rows12 : ICount
{
    public static int Count => 12;
}

/// <summary>How many blocks of 16 columns a tile has, and whether the last one is partial.</summary>
internal interface ITileColumns
{
    static abstract int Blocks { get; }

    static abstract bool Partial { get; }
}

internal readonly struct OneBlock : ITileColumns
{
    public static int Blocks => 1;

    public static bool Partial => false;
}

internal readonly struct OnePartialBlock : ITileColumns
{
    public static int Blocks => 1;

    public static bool Partial => true;
}

internal readonly struct TwoBlocks : ITileColumns
{
    public static int Blocks => 2;

    public static bool Partial => false;
}

internal readonly struct TwoPartialBlocks : ITileColumns
{
    public static int Blocks => 2;

    public static bool Partial => true;
}

/// <summary>How a tile walks over its operands. Whatever it is, one of A's two strides is 1.</summary>
internal interface IWalk
{
    /// <summary>Both operands are packed: all steps are known.</summary>
    static abstract bool Packed { get; }

    /// <summary>Neighbouring rows of A lie one float apart, and k a stride; otherwise it is the other way round.</summary>
    static abstract bool UnitRows { get; }

    /// <summary>B is read in place from far away: the strip beside the one in hand is asked for on the way.</summary>
    static abstract bool Ahead { get; }
}

internal readonly struct PackedWalk : IWalk
{
    public static bool Packed => true;

    public static bool UnitRows => true;

    public static bool Ahead => false;
}

internal readonly struct UnitRowWalk : IWalk
{
    public static bool Packed => false;

    public static bool UnitRows => true;

    public static bool Ahead => false;
}

internal readonly struct StridedRowWalk : IWalk
{
    public static bool Packed => false;

    public static bool UnitRows => false;

    public static bool Ahead => false;
}

internal readonly struct StreamWalk : IWalk
{
    public static bool Packed => false;

    public static bool UnitRows => true;

    public static bool Ahead => true;
}
