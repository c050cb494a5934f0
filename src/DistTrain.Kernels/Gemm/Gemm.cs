namespace DistTrain.Kernels;

/// <summary>How a GEMM reads an operand.</summary>
public enum MatrixForm
{
    /// <summary>As it lies in memory.</summary>
    Normal,

    /// <summary>Rows and columns swapped.</summary>
    Transposed,
}

/// <summary>What a GEMM does to each element after its sum.</summary>
public readonly unsafe struct GemmEpilogue(float* bias, Activation activation = Activation.Identity)
{
    /// <summary>(n): added to each column; null for none.</summary>
    public float* Bias { get; } = bias;

    /// <summary>Applied last.</summary>
    public Activation Activation { get; } = activation;
}

/// <summary>
/// Matrix multiplication in fp32. Every element of C is one chain of fused multiply-adds that starts at +0 and goes
/// over k in ascending order, and then what <see cref="TileFinish"/> says: alpha, beta, bias, activation. Its bits
/// depend on its row of op(A), its column of op(B) and k alone.
/// </summary>
public static unsafe class Gemm
{
    /// <summary>C = activation(alpha · op(A)·op(B) + beta · C + bias).</summary>
    /// <param name="formA">Whether op(A) is A or Aᵀ.</param>
    /// <param name="formB">Whether op(B) is B or Bᵀ.</param>
    /// <param name="m">Rows of C and op(A).</param>
    /// <param name="n">Columns of C and op(B).</param>
    /// <param name="k">Columns of op(A), rows of op(B).</param>
    /// <param name="alpha">Scales the sum; 1 leaves it as it is.</param>
    /// <param name="a">(m, k), or (k, m) when transposed; rows of <paramref name="lda"/> floats.</param>
    /// <param name="lda">Floats from one row of A to the next.</param>
    /// <param name="b">(k, n), or (n, k) when transposed; rows of <paramref name="ldb"/> floats.</param>
    /// <param name="ldb">Floats from one row of B to the next.</param>
    /// <param name="beta">Scales the old C; 0 ignores it, NaN included.</param>
    /// <param name="c">(m, n), rows of <paramref name="ldc"/> floats; apart from A and B.</param>
    /// <param name="ldc">Floats from one row of C to the next.</param>
    /// <param name="epilogue">What follows each sum; default for nothing.</param>
    /// <param name="pool">Null for the caller alone.</param>
    public static void Multiply(
        MatrixForm formA,
        MatrixForm formB,
        nint m,
        nint n,
        nint k,
        float alpha,
        float* a,
        nint lda,
        float* b,
        nint ldb,
        float beta,
        float* c,
        nint ldc,
        GemmEpilogue epilogue = default,
        KernelPool? pool = null)
    {
        bool transA = formA == MatrixForm.Transposed;
        bool transB = formB == MatrixForm.Transposed;
        Guard.Length(m, nameof(m));
        Guard.Length(n, nameof(n));
        Guard.Length(k, nameof(k));
        if (m == 0 || n == 0) return;
        Guard.Stride(lda, transA ? m : k, nameof(lda));
        Guard.Stride(ldb, transB ? k : n, nameof(ldb));
        Guard.Stride(ldc, n, nameof(ldc));
        Guard.NotNull(a, k, nameof(a));
        Guard.NotNull(b, k, nameof(b));
        Guard.NotNull(c, m, nameof(c));
        nint sizeC = Extent(m, n, ldc);
        Guard.Apart(c, sizeC, a, transA ? Extent(k, m, lda) : Extent(m, k, lda));
        Guard.Apart(c, sizeC, b, transB ? Extent(n, k, ldb) : Extent(k, n, ldb));

        var problem = new GemmProblem
        {
            M = m,
            N = n,
            K = k,
            A = a,
            RowA = transA ? 1 : lda,
            StepA = transA ? lda : 1,
            B = b,
            ColumnB = transB ? ldb : 1,
            StepB = transB ? 1 : ldb,
            C = c,
            StrideC = ldc,
            Finish = new TileFinish(alpha, beta, epilogue.Bias, epilogue.Activation),
        };
        GemmDriver.Run(in problem, pool);
    }

    private static nint Extent(nint rows, nint columns, nint stride) =>
        rows == 0 || columns == 0 ? 0 : ((rows - 1) * stride) + columns;
}
