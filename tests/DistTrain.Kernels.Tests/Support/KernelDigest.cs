using System.Security.Cryptography;

namespace DistTrain.Kernels.Tests;

/// <summary>One hash over the results of every kernel, to compare processes that run under different switches.</summary>
internal static unsafe class KernelDigest
{
    public static void Print() => Console.WriteLine($"{Compute()} {SimdPath.Current}");

    public static string Compute()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Functions(hash);
        Products(hash);
        Ways(hash);
        Losses(hash);
        Updates(hash);
        RowsAndHeads.Add(values => Add(hash, values));
        ConvolutionDigest.Append(values => Add(hash, values));
        foreach (float[] values in CellsDigest.Results()) Add(hash, values);
        var random = new KeyedRandom(7, 3);
        var x = new float[101];
        fixed (float* p = x)
        {
            random.FillUniform(5, 2, p, 101, -1, 2);
            Add(hash, x);
            random.FillNormal(5, 2, p, 101, 0.5f, 2);
            Add(hash, x);
        }
        return Convert.ToHexString(hash.GetHashAndReset());
    }

    private static void Add(IncrementalHash hash, float[] values)
    {
        foreach (float value in values)
        {
            int bits = float.IsNaN(value) ? 0x7FC00000 : BitConverter.SingleToInt32Bits(value);
            hash.AppendData(BitConverter.GetBytes(bits));
        }
    }

    private static void Functions(IncrementalHash hash)
    {
        float[] x = TestData.Awkward(211, 1), y = TestData.Awkward(211, 2), z = new float[211];
        fixed (float* px = x, py = y, pz = z)
        {
            foreach (Activation activation in Enum.GetValues<Activation>())
            {
                Elementwise.Activate(activation, px, pz, 211);
                Add(hash, z);
                Elementwise.ActivateBackward(activation, px, py, pz, 211);
                Add(hash, z);
            }
            Elementwise.Exp(px, pz, 211);
            Add(hash, z);
            Elementwise.Log(px, pz, 211);
            Add(hash, z);
            Elementwise.Sqrt(px, pz, 211);
            Add(hash, z);
            Elementwise.ScaleAdd(0.3f, px, py, pz, 211);
            Add(hash, z);
            Elementwise.Divide(0.3f, px, pz, 211);
            Add(hash, [.. z, Reductions.Max(px, 211), Reductions.Sum(py, 5), Reductions.Max(py, 40)]);
        }
    }

    private static void Products(IncrementalHash hash)
    {
        const int M = 27, N = 43, K = 30;
        float[] a = TestData.Random(M * K, 1), b = TestData.Random(K * N, 2), c = TestData.Random(M * N, 3), bias = TestData.Random(N, 4);
        float[] dw = new float[N * K], db = new float[N];
        fixed (float* pa = a, pb = b, pc = c, pi = bias, pw = dw, pd = db)
        {
            Gemm.Multiply(MatrixForm.Normal, MatrixForm.Normal, M, N, K, 1, pa, K, pb, N, 0, pc, N, new GemmEpilogue(pi, Activation.Sigmoid));
            Add(hash, c);
            Gemm.Multiply(MatrixForm.Transposed, MatrixForm.Transposed, M, N, K, 0.7f, pa, M, pb, K, 0.3f, pc, N);
            Add(hash, c);
            KRange[] ranges = [new(0, 5), new(5, 0), new(5, 11), new(16, 1), new(17, 10)];
            SegmentedGemm.WeightGradient(pc, N, pa, K, N, K, ranges, [0, 1, 2, 4, 5], pw, K);
            SegmentedGemm.ColumnSum(pc, N, N, ranges, [0, 1, 2, 4, 5], pd);
            Add(hash, dw);
            Add(hash, db);
        }
    }

    // The smallest products that go each of the driver's ways.
    private static void Ways(IncrementalHash hash)
    {
        // RowStream; a streamed B; packed blocks over several blocks of k; a range of TransposedTile.
        Product(hash, MatrixForm.Normal, MatrixForm.Normal, 3, 530, 125);
        Product(hash, MatrixForm.Normal, MatrixForm.Normal, 6, 520, 130);
        Product(hash, MatrixForm.Normal, MatrixForm.Transposed, 13, 70, 1050);
        Product(hash, MatrixForm.Normal, MatrixForm.Normal, 65, 70, 1050);
        for (int m = 1; m <= 8; m++) Product(hash, MatrixForm.Normal, MatrixForm.Transposed, m, 35, 70);
        const int Count = 3, M = 5, N = 18, K = 21;
        float[] a = TestData.Random(Count * M * K, 1), b = TestData.Random(Count * N * K, 2), c = new float[Count * M * N];
        fixed (float* pa = a, pb = b, pc = c)
            Gemm.MultiplyBatch(Count, MatrixForm.Normal, MatrixForm.Transposed, M, N, K, 0.5f, pa, K, M * K, pb, K, N * K, 0, pc, N, M * N);
        Add(hash, c);
        const int Rows = 700, Outputs = 14, Inputs = 35;
        float[] dy = TestData.Random(Rows * Outputs, 3), x = TestData.Random(Rows * Inputs, 4), dw = new float[Outputs * Inputs], db = new float[Outputs];
        fixed (float* py = dy, px = x, pw = dw, pd = db)
            SegmentedGemm.WeightGradient(py, Outputs, px, Inputs, Outputs, Inputs, [new(0, 540), new(540, 20), new(560, 140)], [0, 1, 3], pw, Inputs, null, pd);
        Add(hash, dw);
        Add(hash, db);
    }

    private static void Product(IncrementalHash hash, MatrixForm formA, MatrixForm formB, int m, int n, int k)
    {
        float[] a = TestData.Random(m * k, 1), b = TestData.Random(k * n, 2), c = new float[m * n];
        int ldb = formB == MatrixForm.Normal ? n : k;
        fixed (float* pa = a, pb = b, pc = c)
        {
            Gemm.Multiply(formA, formB, m, n, k, 1, pa, formA == MatrixForm.Normal ? k : m, pb, ldb, 0, pc, n);
            Add(hash, c);
            using var packed = new PackedMatrix(k, n);
            packed.Pack(formB, pb, ldb);
            Gemm.Multiply(formA, m, 0.5f, pa, formA == MatrixForm.Normal ? k : m, packed, 0.5f, pc, n);
            Add(hash, c);
        }
    }

    private static void Losses(IncrementalHash hash)
    {
        const int Rows = 9, Classes = 21;
        float[] x = TestData.Random(Rows * Classes, 8), t = TestData.Random(Rows * Classes, 9), d = new float[Rows * Classes], losses = new float[Rows];
        int[] labels = [.. Enumerable.Range(0, Rows).Select(i => i * 5 % Classes)];
        fixed (float* px = x, pt = t, pd = d, pl = losses)
        fixed (int* labelled = labels)
        {
            SoftmaxCrossEntropy.Run(px, labelled, Rows, Classes, pl, pd, null);
            Add(hash, losses);
            Add(hash, d);
            SquaredError.Run(px, pt, Rows, Classes, pl, pd);
            Add(hash, losses);
            Add(hash, d);
            ElementLosses.Huber(px, pt, Rows, Classes, 1, pl, pd);
            Add(hash, losses);
            Add(hash, d);
            Softmax.Forward(pt, Rows, Classes, pd);
            KlDivergence.Run(px, pd, Rows, Classes, pl, null);
            Add(hash, losses);
            ElementLosses.BinaryCrossEntropy(px, pd, Rows, Classes, pl, pd);
            Add(hash, losses);
            Add(hash, d);
            MultiClassHinge.Run(px, labelled, Rows, Classes, 1, pl, pd, null);
            Add(hash, losses);
            Add(hash, d);
        }
    }

    private static void Updates(IncrementalHash hash)
    {
        float[] w = TestData.Random(77, 1), m = new float[77], v = new float[77], g = TestData.Random(77, 2);
        fixed (float* pw = w, pm = m, pv = v, pg = g)
        {
            SgdKernel.Update(new SgdStep(0.1, 0.9, 1e-4, true), pw, pm, pg, 32, 77);
            float[] direction = new float[77];
            var lamb = new AdamStep(1e-2, 0.9, 0.999, 1e-6, 0.01, 0.1, 0.001, false);
            fixed (float* pd = direction)
            {
                LambKernel.Direction(lamb, pw, pm, pv, pd, new SummedGradient(pg, 32), 77);
                Add(hash, direction);
                LambKernel.Apply(lamb, LambKernel.TrustRatio(2, 3), pw, pd, 77);
            }
            AdamKernel.Update(new AdamStep(1e-3, 0.9, 0.999, 1e-8, 0.01, ScalarMath.Exp(-0.5), ScalarMath.Cos(0.3), true), pw, pm, pv, pg, 32, 77);
        }
        Add(hash, w);
        Add(hash, m);
        Add(hash, v);
    }
}
