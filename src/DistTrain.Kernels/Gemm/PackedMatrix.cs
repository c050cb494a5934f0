namespace DistTrain.Kernels;

/// <summary>
/// The right-hand matrix of products, packed once as <see cref="Gemm"/> reads it: for weights that stay as they are over
/// many products (the time steps of a recurrent layer, the parts of a batch). It owns its memory and is packed anew when
/// the weights change. One thread packs while none multiplies.
/// </summary>
public sealed unsafe class PackedMatrix : IDisposable
{
    private readonly NativeBuffer _panels;
    private SimdLevel? _level;

    /// <summary>Makes room for a matrix of (<paramref name="rows"/>, <paramref name="columns"/>).</summary>
    /// <param name="rows">k of the products.</param>
    /// <param name="columns">n of the products.</param>
    /// <exception cref="OverflowException">There is no such amount of memory.</exception>
    public PackedMatrix(nint rows, nint columns)
    {
        Guard.Length(rows, nameof(rows));
        Guard.Length(columns, nameof(columns));
        Rows = rows;
        Columns = columns;
        PaddedColumns = checked(columns + 31) & ~31;
        _panels = new NativeBuffer(checked((rows * PaddedColumns) + Packing.Slack));
    }

    /// <summary>k of the products.</summary>
    public nint Rows { get; }

    /// <summary>n of the products.</summary>
    public nint Columns { get; }

    /// <summary>The columns, rounded up to whole tiles.</summary>
    internal nint PaddedColumns { get; }

    /// <summary>
    /// Block of k after block of k, each <see cref="GemmDriver.DepthOf"/> deep; in it a strip for each tile of columns.
    /// </summary>
    internal float* Panels
    {
        get
        {
            if (_level != SimdPath.Current) throw new InvalidOperationException(_level is null ? "The matrix was never packed." : $"The matrix was packed for {_level}, and {SimdPath.Current} is in use.");
            return _panels.Pointer;
        }
    }

    /// <summary>Packs op(B).</summary>
    /// <param name="form">Whether the matrix is B or Bᵀ.</param>
    /// <param name="b">(rows, columns), or (columns, rows) when transposed; rows of <paramref name="ldb"/> floats.</param>
    /// <param name="ldb">Floats from one row of B to the next.</param>
    public void Pack(MatrixForm form, float* b, nint ldb)
    {
        bool transposed = form == MatrixForm.Transposed;
        Guard.Stride(ldb, transposed ? Rows : Columns, nameof(ldb));
        Guard.NotNull(b, Rows * Columns, nameof(b));
        _level = SimdPath.Current;
        nint column = transposed ? ldb : 1;
        nint step = transposed ? 1 : ldb;
        switch (SimdPath.Current)
        {
            case SimdLevel.Vector512: Pack<Lanes512>(b, column, step); break;
            case SimdLevel.Vector256: Pack<Lanes256>(b, column, step); break;
            case SimdLevel.Vector128: Pack<Lanes128>(b, column, step); break;
            default: Pack<LanesScalar>(b, column, step); break;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _panels.Dispose();

    private void Pack<T>(float* b, nint column, nint step)
        where T : struct, ILanes<T>
    {
        nint blockK = GemmDriver.DepthOf(Rows);
        for (nint k = 0; k < Rows; k += blockK)
            Packing.PackB<T>(b + (k * step), column, step, Math.Min(blockK, Rows - k), Columns, _panels.Pointer + (k * PaddedColumns));
    }
}
