namespace DistTrain.Kernels;

/// <summary>The most rows, columns and depth of a block; 0 leaves the choice to the driver. They never show in the bits.</summary>
internal readonly record struct GemmCuts(int M, int N, int K);

/// <summary>A GEMM as the driver sees it: transposition is only a matter of strides.</summary>
internal unsafe struct GemmProblem
{
    public nint M;
    public nint N;
    public nint K;

    /// <summary>op(A)(i, k) is at A[i·RowA + k·StepA].</summary>
    public float* A;

    /// <inheritdoc cref="A"/>
    public nint RowA;

    /// <inheritdoc cref="A"/>
    public nint StepA;

    /// <summary>op(B)(k, j) is at B[k·StepB + j·ColumnB].</summary>
    public float* B;

    /// <inheritdoc cref="B"/>
    public nint ColumnB;

    /// <inheritdoc cref="B"/>
    public nint StepB;

    /// <summary>B packed beforehand, as <see cref="PackedMatrix"/> has it; null to read <see cref="B"/>.</summary>
    public float* Panels;

    /// <summary>The panels' padded width, and the first column of this problem in them.</summary>
    public nint PanelWidth;

    /// <inheritdoc cref="PanelWidth"/>
    public nint PanelColumn;

    public float* C;
    public nint StrideC;
    public TileFinish Finish;

    /// <summary>Where it is cut into blocks; default for what suits the caches.</summary>
    public GemmCuts Cuts;

    /// <summary>The same problem for rows [row, row + rows) and columns [column, column + columns) of C.</summary>
    public readonly GemmProblem Part(nint row, nint rows, nint column, nint columns)
    {
        GemmProblem part = this;
        part.M = rows;
        part.N = columns;
        part.A = A + (row * RowA);
        part.B = B + (column * ColumnB);
        part.PanelColumn += column;
        part.C = C + (row * StrideC) + column;
        part.Finish = Finish.From(row, column);
        return part;
    }
}
