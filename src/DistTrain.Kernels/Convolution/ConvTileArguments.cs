namespace DistTrain.Kernels;

/// <summary>A run of k that lies evenly in A and in B: where it begins in each, in floats.</summary>
internal readonly struct ConvSegment(nint a, nint b)
{
    public nint A { get; } = a;

    public nint B { get; } = b;
}

/// <summary>A leaf of a weight gradient, or the part of one that a visit has.</summary>
internal readonly struct ConvPiece(int segments, int joins)
{
    /// <summary>How many segments it has.</summary>
    public int Segments { get; } = segments;

    /// <summary>How many pending nodes the sum joins when the piece ends its leaf.</summary>
    public int Joins { get; } = joins;
}

/// <summary>
/// What a convolution's register tile works on: C(r, j) = Σ A(r, k)·B(k, j), k ascending from segment to segment.
/// A tile's rows are pixels (<see cref="StridedRowWalk"/>: a data pass, B packed, one piece, the result goes to the
/// groups' targets), or kernel taps and channels (<see cref="UnitRowWalk"/>: a weight gradient, k are pixels, pieces
/// are leaves, the result goes to the tile's stack; <see cref="PackedWalk"/> is the same with B packed and the groups
/// one behind the other).
/// </summary>
internal unsafe struct ConvTileArguments
{
    /// <summary>The most rows of a group, where there are two.</summary>
    public const int GroupRows = 7;

    /// <summary>Floats of a stored tile: rows of 32.</summary>
    public const int TileSize = 2 * GroupRows * 32;

    /// <summary>Where the groups of rows begin.</summary>
    public float* A0;

    /// <inheritdoc cref="A0"/>
    public float* A1;

    /// <inheritdoc cref="A0"/>
    public float* A2;

    /// <summary>Floats between a group's rows, where they are pixels; k is then 1 apart.</summary>
    public nint RowStride;

    /// <summary>Floats of A between k, where rows are channels; they are then 1 apart.</summary>
    public nint Step;

    public float* B;

    /// <summary>Floats of B between k.</summary>
    public nint StepB;

    /// <summary>The segments of all pieces.</summary>
    public ConvSegment* Segments;

    /// <summary>How many k each segment has.</summary>
    public nint Length;

    public ConvPiece* Pieces;
    public int PieceCount;

    /// <summary>Whether the first piece goes on with a leaf whose sum so far is on the stack.</summary>
    public bool Continues;

    /// <summary>The top of the tile's stack of pending nodes, <see cref="TileSize"/> apart.</summary>
    public float* Stack;

    /// <summary>Where the groups' results go.</summary>
    public float* To0;

    /// <inheritdoc cref="To0"/>
    public float* To1;

    /// <summary>Floats between a group's results.</summary>
    public nint ToStride;

    /// <summary>Added to each column before it is stored, padded to whole vectors; null for none.</summary>
    public float* Bias;

    /// <summary>Whether what is below zero becomes +0 then.</summary>
    public bool Relu;

    /// <summary>How many columns are real, where the tile's last block is partial.</summary>
    public int Columns;

    /// <summary>Where a stored tile has row <paramref name="row"/> of group <paramref name="group"/>.</summary>
    public static int Slot(int group, int row) => (((group == 1 ? GroupRows : group == 2 ? 3 : 0) + row) * 32);
}

internal readonly struct Rows3 : ICount
{
    public static int Count => 3;
}

internal readonly struct Rows5 : ICount
{
    public static int Count => 5;
}

internal readonly struct Rows7 : ICount
{
    public static int Count => 7;
}
