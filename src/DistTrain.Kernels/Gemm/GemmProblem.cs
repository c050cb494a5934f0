namespace DistTrain.Kernels;

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

    public float* C;
    public nint StrideC;
    public TileFinish Finish;

    /// <summary>The same problem for rows [row, row + rows) and columns [column, column + columns) of C.</summary>
    public readonly GemmProblem Part(nint row, nint rows, nint column, nint columns)
    {
        GemmProblem part = this;
        part.M = rows;
        part.N = columns;
        part.A = A + (row * RowA);
        part.B = B + (column * ColumnB);
        part.C = C + (row * StrideC) + column;
        part.Finish = Finish.From(column);
        return part;
    }
}
