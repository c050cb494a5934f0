namespace DistTrain.Kernels;

/// <summary>A band of rows of one example.</summary>
internal readonly struct ConvBand(int example, int row, int rows)
{
    public int Example { get; } = example;

    public int Row { get; } = row;

    public int Rows { get; } = rows;
}

/// <summary>
/// Walks over the leaves of a weight gradient in visits: a few bands of images that the caches hold at once. Between
/// visits a tile's sum waits on its stack.
/// </summary>
internal unsafe struct ConvVisits(ConvBand* bands, ConvPiece* pieces)
{
    private int _leaf;
    private int _range;
    private int _example;
    private int _band;
    private int _pending;
    private bool _middle;

    /// <summary>The bands of this visit, in order.</summary>
    public readonly ConvBand* Bands => bands;

    public int BandCount { get; private set; }

    /// <summary>The leaves of this visit, or their parts; their segments are counted in bands.</summary>
    public readonly ConvPiece* Pieces => pieces;

    public int PieceCount { get; private set; }

    /// <summary>Whether the first piece goes on with a leaf of the visit before.</summary>
    public bool Continues { get; private set; }

    /// <summary>How many pending nodes lie below the first piece's sum.</summary>
    public int Pending { get; private set; }

    /// <summary>Room that the pieces of a visit need.</summary>
    public static int MaxPieces(int leaves, int visitBands) => Math.Min(leaves, visitBands + MaxEmpty) + 1;

    // A visit ends after so many leaves, empty ones included.
    private const int MaxEmpty = 64;

    /// <summary>Goes to the next visit; false when there is none left.</summary>
    public bool Next(in ConvWeightProblem p)
    {
        BandCount = 0;
        PieceCount = 0;
        Continues = _middle;
        Pending = _pending;
        int most = MaxPieces(p.Leaves, p.VisitBands);
        while (_leaf < p.Leaves && PieceCount < most)
        {
            int before = BandCount;
            if (!_middle) _range = p.LeafStarts[_leaf];
            bool whole = Take(in p);
            if (!whole)
            {
                // The visit is full; what the leaf has of it may be nothing.
                if (BandCount > before)
                {
                    pieces[PieceCount++] = new ConvPiece(BandCount - before, 0);
                    _middle = true;
                }
                return true;
            }
            int joins = LeafTree.Joins(_leaf, _leaf == p.Leaves - 1, _pending);
            pieces[PieceCount++] = new ConvPiece(BandCount - before, joins);
            _pending += 1 - joins;
            _leaf++;
            _middle = false;
        }
        return PieceCount > 0;
    }

    /// <summary>Takes bands of the current leaf as long as there is room; true when it has no more.</summary>
    private bool Take(in ConvWeightProblem p)
    {
        for (; _range < p.LeafStarts[_leaf + 1]; _range++, _example = 0)
        {
            KRange range = p.Ranges[_range];
            for (; _example < range.Count; _example++, _band = 0)
            {
                for (; _band < p.Bands; _band++)
                {
                    if (BandCount == p.VisitBands) return false;
                    int row = _band * p.BandRows;
                    bands[BandCount++] = new ConvBand(range.Start + _example, row, Math.Min(p.BandRows, p.Shape.OutputHeight - row));
                }
            }
        }
        return true;
    }
}
