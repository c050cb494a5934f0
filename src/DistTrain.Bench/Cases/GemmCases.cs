using System.Globalization;
using DistTrain.Bench.Peers;
using DistTrain.Kernels;

namespace DistTrain.Bench.Cases;

/// <summary>Matrix multiplication, whole and segmented, against OpenBLAS and the FMA peak.</summary>
internal static unsafe class GemmCases
{
    private const MatrixForm N = MatrixForm.Normal;
    private const MatrixForm T = MatrixForm.Transposed;

    public static IEnumerable<BenchCase> All =>
    [
        Multiply(N, N, 1024, 1024, 1024),
        Multiply(N, N, 2048, 2048, 2048),
        // A dense layer of 784 to 512 at batch 128: forward, the data gradient, and the weight gradient unsegmented.
        Multiply(N, T, 128, 512, 784),
        Multiply(N, N, 128, 512, 784),
        Multiply(N, N, 128, 784, 512),
        Multiply(T, N, 512, 784, 128),
        Multiply(N, N, 32, 32, 32),
        Multiply(T, N, 32, 32, 32),
        Multiply(N, T, 32, 32, 32),
        Multiply(N, N, 64, 64, 64),
        Multiply(T, N, 64, 64, 64),
        Multiply(N, T, 64, 64, 64),
        Multiply(N, N, 8, 512, 512),
        Multiply(N, T, 8, 512, 512),
        MatrixVector(T, 1024),
        MatrixVector(N, 1024),
        Multiply(N, N, 1024, 1024, 1024, threads: 2),
        Segmented(784, 512, 8, 16),
        Segmented(784, 512, 8, 64),
        Segmented(2048, 2048, 4, 16),
        Segmented(2048, 2048, 4, 64),
    ];

    private static BenchCase Multiply(MatrixForm formA, MatrixForm formB, int m, int n, int k, int threads = 1) =>
        new(
            string.Create(CultureInfo.InvariantCulture, $"gemm_{m}x{n}x{k}_{Letter(formA)}{Letter(formB)}{(threads > 1 ? $"_{threads}_threads" : "")}"),
            BenchUnit.Gflops,
            2.0 * m * n * k,
            s =>
            {
                KernelPool? pool = threads > 1 ? s.Threads(threads) : null;
                float* a = s.Random((long)m * k), b = s.Random((long)k * n, 2), c = s.Zeros((long)m * n), d = s.Zeros((long)m * n);
                void Run(KernelPool? on) => Gemm.Multiply(formA, formB, m, n, k, 1, a, formA == T ? m : k, b, formB == T ? k : n, 0, c, n, default, on);
                s.Ours(() => Run(pool));
                s.OpenBlas(() => OpenBlasLibrary.Multiply(formA, formB, m, n, k, a, b, d));
                s.FmaPeak();
                if (threads > 1) s.Peer("one_thread", () => Run(null));
            });

    // In row-major words: op(A) transposed walks rows and adds them up, normal takes a dot product with each row.
    private static BenchCase MatrixVector(MatrixForm form, int size) =>
        new(
            string.Create(CultureInfo.InvariantCulture, $"gemv_{size}x{size}_{(form == T ? "contiguous" : "dot")}"),
            BenchUnit.Gflops,
            2.0 * size * size,
            s =>
            {
                float* a = s.Random((long)size * size), x = s.Random(size, 2), y = s.Zeros(size), z = s.Zeros(size);
                s.Ours(() => Gemm.Multiply(N, form == T ? N : T, 1, size, size, 1, x, size, a, size, 0, y, size));
                s.OpenBlas(() => OpenBlasLibrary.MultiplyVector(form, size, size, a, x, z));
            });

    private static BenchCase Segmented(int inputs, int outputs, int leaves, int rows) =>
        new(
            string.Create(CultureInfo.InvariantCulture, $"weight_gradient_{inputs}x{outputs}_{leaves}_shards_of_{rows}"),
            BenchUnit.Gflops,
            2.0 * leaves * rows * inputs * outputs,
            s =>
            {
                int all = leaves * rows;
                float* dy = s.Random((long)all * outputs), x = s.Random((long)all * inputs, 2), dw = s.Zeros((long)outputs * inputs);
                KRange[] ranges = [.. Enumerable.Range(0, leaves).Select(i => new KRange(i * rows, rows))];
                int[] starts = [.. Enumerable.Range(0, leaves + 1)];
                s.Ours(() => SegmentedGemm.WeightGradient(dy, outputs, x, inputs, outputs, inputs, ranges, starts, dw, inputs));
                s.Peer("unsegmented", () => Gemm.Multiply(T, N, outputs, inputs, all, 1, dy, outputs, x, inputs, 0, dw, inputs));
                s.FmaPeak();
            });

    private static char Letter(MatrixForm form) => form == T ? 't' : 'n';
}
