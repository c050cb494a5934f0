using System.Reflection;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using DistTrain.Kernels;

namespace DistTrain.Bench.Peers;

/// <summary>OpenBLAS from the system's libraries, at its best core type.</summary>
internal static unsafe partial class OpenBlasLibrary
{
    private const string Library = "libopenblas.so.0";
    private const int RowMajor = 101;
    private const int NoTranspose = 111;
    private const int Transpose = 112;

    private static readonly bool Loaded = Load();

    /// <summary>Whether it is there; sets its threads when it is.</summary>
    public static bool Available(int threads)
    {
        if (Loaded) SetThreads(threads);
        return Loaded;
    }

    /// <summary>C = op(A)·op(B), row-major, without gaps between the rows.</summary>
    public static void Multiply(MatrixForm formA, MatrixForm formB, int m, int n, int k, float* a, float* b, float* c)
    {
        bool transA = formA == MatrixForm.Transposed;
        bool transB = formB == MatrixForm.Transposed;
        Sgemm(RowMajor, transA ? Transpose : NoTranspose, transB ? Transpose : NoTranspose, m, n, k, 1, a, transA ? m : k, b, transB ? k : n, 0, c, n);
    }

    /// <summary>y = op(A)·x for a row-major A of (rows, columns).</summary>
    public static void MultiplyVector(MatrixForm form, int rows, int columns, float* a, float* x, float* y) =>
        Sgemv(RowMajor, form == MatrixForm.Transposed ? Transpose : NoTranspose, rows, columns, 1, a, columns, x, 1, 0, y, 1);

    // OpenBLAS chooses a slow core type on some AVX-512 processors; it reads the variable when it is loaded.
    private static bool Load()
    {
        if (!OperatingSystem.IsLinux()) return false;
        if (Avx512F.IsSupported) _ = SetEnvironment("OPENBLAS_CORETYPE", "SkylakeX", 0);
        return NativeLibrary.TryLoad(Library, Assembly.GetExecutingAssembly(), DllImportSearchPath.SafeDirectories, out _);
    }

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);

    [LibraryImport(Library, EntryPoint = "openblas_set_num_threads")]
    private static partial void SetThreads(int threads);

    [LibraryImport(Library, EntryPoint = "cblas_sgemm")]
    private static partial void Sgemm(
        int order, int transA, int transB, int m, int n, int k, float alpha, float* a, int lda, float* b, int ldb, float beta, float* c, int ldc);

    [LibraryImport(Library, EntryPoint = "cblas_sgemv")]
    private static partial void Sgemv(
        int order, int trans, int m, int n, float alpha, float* a, int lda, float* x, int incX, float beta, float* y, int incY);
}
