using System.Runtime.CompilerServices;

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
public readonly unsafe struct GemmEpilogue
{
    /// <summary>Adds a bias, then applies an activation.</summary>
    /// <param name="bias">(n): added to each column; null for none.</param>
    /// <param name="activation">Applied last.</param>
    public GemmEpilogue(float* bias, Activation activation = Activation.Identity)
    {
        Bias = bias;
        Activation = activation;
    }

    private GemmEpilogue(Activation activation, float* outputs, nint stride)
    {
        Activation = activation;
        Outputs = outputs;
        StrideOutputs = stride;
    }

    /// <summary>(n): added to each column; null for none.</summary>
    public float* Bias { get; }

    /// <summary>Applied last, or on the way back gone through last.</summary>
    public Activation Activation { get; }

    /// <summary>(m, n): the activation's outputs, for the way back; null forward.</summary>
    public float* Outputs { get; }

    /// <summary>Floats from one row of <see cref="Outputs"/> to the next.</summary>
    public nint StrideOutputs { get; }

    /// <summary>
    /// The way back through the activation that gave this product's other side its input: C is the gradient at that
    /// activation's output, and becomes the gradient at its input, as <see cref="Elementwise.ActivateBackward"/> has it.
    /// </summary>
    /// <param name="activation">The activation; its derivative must follow from its output.</param>
    /// <param name="outputs">(m, n): what it gave.</param>
    /// <param name="stride">Floats from one row of the outputs to the next.</param>
    /// <exception cref="ArgumentNullException">There are no outputs.</exception>
    public static GemmEpilogue Backward(Activation activation, float* outputs, nint stride)
    {
        Guard.NotNull(outputs, 1, nameof(outputs));
        return new(activation, outputs, stride);
    }
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
        Unsafe.SkipInit(out GemmProblem problem);
        Describe(ref problem, formA, m, n, k, alpha, a, lda, beta, c, ldc, in epilogue);
        bool transB = formB == MatrixForm.Transposed;
        if (m == 0 || n == 0) return;
        Guard.Stride(ldb, transB ? k : n, nameof(ldb));
        Guard.NotNull(b, k, nameof(b));
        Guard.Apart(c, Extent(m, n, ldc), b, transB ? Extent(n, k, ldb) : Extent(k, n, ldb));
        problem.B = b;
        problem.ColumnB = transB ? ldb : 1;
        problem.StepB = transB ? 1 : ldb;
        problem.Panels = null;
        problem.PanelColumn = 0;
        GemmDriver.Run(in problem, pool);
    }

    /// <summary>
    /// C = activation(alpha · op(A)·B + beta · C + bias) with a B that was packed beforehand: the same bits as from B
    /// itself, without its packing.
    /// </summary>
    /// <param name="formA">Whether op(A) is A or Aᵀ.</param>
    /// <param name="m">Rows of C and op(A).</param>
    /// <param name="alpha">Scales the sum; 1 leaves it as it is.</param>
    /// <param name="a">(m, k), or (k, m) when transposed; rows of <paramref name="lda"/> floats.</param>
    /// <param name="lda">Floats from one row of A to the next.</param>
    /// <param name="b">(k, n).</param>
    /// <param name="beta">Scales the old C; 0 ignores it, NaN included.</param>
    /// <param name="c">(m, n), rows of <paramref name="ldc"/> floats; apart from A.</param>
    /// <param name="ldc">Floats from one row of C to the next.</param>
    /// <param name="epilogue">What follows each sum; default for nothing.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="InvalidOperationException"><paramref name="b"/> was never packed, or for another SIMD path.</exception>
    public static void Multiply(
        MatrixForm formA,
        nint m,
        float alpha,
        float* a,
        nint lda,
        PackedMatrix b,
        float beta,
        float* c,
        nint ldc,
        GemmEpilogue epilogue = default,
        KernelPool? pool = null)
    {
        Unsafe.SkipInit(out GemmProblem problem);
        Describe(ref problem, formA, m, b.Columns, b.Rows, alpha, a, lda, beta, c, ldc, in epilogue);
        if (m == 0 || b.Columns == 0) return;
        problem.B = null;
        problem.ColumnB = 1;
        problem.StepB = b.Columns;
        problem.Panels = b.Panels;
        problem.PanelWidth = b.PaddedColumns;
        problem.PanelColumn = 0;
        GemmDriver.Run(in problem, pool);
    }

    /// <summary>
    /// Independent products of one shape at equal distances: C_i = activation(alpha · op(A_i)·op(B_i) + beta · C_i + bias)
    /// for i from 0 to <paramref name="count"/>. A pool's threads share out the products.
    /// </summary>
    /// <param name="count">How many products.</param>
    /// <param name="formA">Whether op(A) is A or Aᵀ.</param>
    /// <param name="formB">Whether op(B) is B or Bᵀ.</param>
    /// <param name="m">Rows of each C and op(A).</param>
    /// <param name="n">Columns of each C and op(B).</param>
    /// <param name="k">Columns of op(A), rows of op(B).</param>
    /// <param name="alpha">Scales the sums; 1 leaves them as they are.</param>
    /// <param name="a">The first A: (m, k), or (k, m) when transposed; rows of <paramref name="lda"/> floats.</param>
    /// <param name="lda">Floats from one row of an A to the next.</param>
    /// <param name="nextA">Floats from one A to the next; 0 when all share it.</param>
    /// <param name="b">The first B: (k, n), or (n, k) when transposed; rows of <paramref name="ldb"/> floats.</param>
    /// <param name="ldb">Floats from one row of a B to the next.</param>
    /// <param name="nextB">Floats from one B to the next; 0 when all share it.</param>
    /// <param name="beta">Scales the old C; 0 ignores it, NaN included.</param>
    /// <param name="c">The first C: (m, n), rows of <paramref name="ldc"/> floats; all apart from each other, A and B.</param>
    /// <param name="ldc">Floats from one row of a C to the next.</param>
    /// <param name="nextC">Floats from one C to the next.</param>
    /// <param name="epilogue">What follows each sum, the same for all products; default for nothing.</param>
    /// <param name="pool">Null for the caller alone.</param>
    /// <exception cref="ArgumentException">Two of the C overlap, or one overlaps an operand.</exception>
    public static void MultiplyBatch(
        nint count,
        MatrixForm formA,
        MatrixForm formB,
        nint m,
        nint n,
        nint k,
        float alpha,
        float* a,
        nint lda,
        nint nextA,
        float* b,
        nint ldb,
        nint nextB,
        float beta,
        float* c,
        nint ldc,
        nint nextC,
        GemmEpilogue epilogue = default,
        KernelPool? pool = null)
    {
        Guard.Length(count, nameof(count));
        if (epilogue.Outputs != null) Guard.ThrowSegments("The way back through an activation takes one product at a time.", nameof(epilogue));
        if (count == 0) return;
        bool transA = formA == MatrixForm.Transposed;
        bool transB = formB == MatrixForm.Transposed;
        Unsafe.SkipInit(out GemmProblem problem);
        Describe(ref problem, formA, m, n, k, alpha, a, lda, beta, c, ldc, in epilogue);
        if (m == 0 || n == 0) return;
        Guard.Stride(ldb, transB ? k : n, nameof(ldb));
        Guard.NotNull(b, k, nameof(b));
        // Products may be interleaved (heads within a row), or follow one another.
        if (count > 1 && nextC < Extent(m, n, ldc) && (nextC < n || ((count - 1) * nextC) + n > ldc))
            Guard.ThrowSegments($"The products' results overlap: they are {nextC} floats apart.", nameof(nextC));
        if (count > 1 && (nextA < 0 || nextB < 0)) Guard.ThrowSegments("Operands lie at ascending places.", nextA < 0 ? nameof(nextA) : nameof(nextB));
        nint extentC = ((count - 1) * nextC) + Extent(m, n, ldc);
        if (epilogue.Bias != null) Guard.Apart(c, extentC, epilogue.Bias, n);
        Guard.Apart(c, extentC, a, ((count - 1) * nextA) + (transA ? Extent(k, m, lda) : Extent(m, k, lda)));
        Guard.Apart(c, extentC, b, ((count - 1) * nextB) + (transB ? Extent(n, k, ldb) : Extent(k, n, ldb)));
        problem.B = b;
        problem.ColumnB = transB ? ldb : 1;
        problem.StepB = transB ? 1 : ldb;
        problem.Panels = null;
        problem.PanelColumn = 0;
        GemmDriver.RunBatch(in problem, count, nextA, nextB, nextC, pool);
    }

    /// <summary>Checks and describes all but B.</summary>
    private static void Describe(
        ref GemmProblem problem, MatrixForm formA, nint m, nint n, nint k, float alpha, float* a, nint lda, float beta, float* c, nint ldc, in GemmEpilogue epilogue)
    {
        bool transA = formA == MatrixForm.Transposed;
        Guard.Length(m, nameof(m));
        Guard.Length(n, nameof(n));
        Guard.Length(k, nameof(k));
        if (m == 0 || n == 0) return;
        Guard.Stride(lda, transA ? m : k, nameof(lda));
        Guard.Stride(ldc, n, nameof(ldc));
        Guard.NotNull(a, k, nameof(a));
        Guard.NotNull(c, m, nameof(c));
        nint sizeC = Extent(m, n, ldc);
        Guard.Apart(c, sizeC, a, transA ? Extent(k, m, lda) : Extent(m, k, lda));
        if (epilogue.Bias != null) Guard.Apart(c, sizeC, epilogue.Bias, n);
        if (epilogue.Outputs != null)
        {
            Guard.Stride(epilogue.StrideOutputs, n, nameof(epilogue));
            Guard.Apart(c, sizeC, epilogue.Outputs, Extent(m, n, epilogue.StrideOutputs));
        }
        problem.M = m;
        problem.N = n;
        problem.K = k;
        problem.A = a;
        problem.RowA = transA ? 1 : lda;
        problem.StepA = transA ? lda : 1;
        problem.C = c;
        problem.StrideC = ldc;
        problem.Finish.Alpha = alpha;
        problem.Finish.Beta = beta;
        problem.Finish.Bias = epilogue.Bias;
        problem.Finish.Activation = epilogue.Activation;
        problem.Finish.Outputs = epilogue.Outputs;
        problem.Finish.StrideOutputs = epilogue.StrideOutputs;
    }

    private static nint Extent(nint rows, nint columns, nint stride) =>
        rows == 0 || columns == 0 ? 0 : ((rows - 1) * stride) + columns;
}
