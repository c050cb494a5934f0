using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

/// <summary>Results of activations, recurrent layers, embeddings, formats, segment joins and optimizers.</summary>
internal static unsafe class CellsDigest
{
    public static IEnumerable<float[]> Results() => [.. Functions(), .. Recurrent(), .. Tables(), .. Memory()];

    private static List<float[]> Functions()
    {
        const int N = 211;
        var results = new List<float[]>();
        float[] x = TestData.Awkward(N, 1), g = TestData.Random(N, 2), a = TestData.Random(7, 3), z = new float[N];
        fixed (float* px = x, pg = g, pa = a, pz = z)
        {
            void Keep() => results.Add([.. z]);
            Activations.Gelu(px, pz, N);
            Keep();
            Activations.GeluBackward(pg, px, pz, N);
            Keep();
            Activations.GeluTanh(px, pz, N);
            Keep();
            Activations.GeluTanhBackward(pg, px, pz, N);
            Keep();
            Activations.Silu(px, pz, N);
            Keep();
            Activations.SiluBackward(pg, px, pz, N);
            Keep();
            Activations.Softplus(px, pz, N);
            Keep();
            Activations.Elu(0.7f, px, pz, N);
            Keep();
            Activations.LeakyRelu(0.1f, px, pz, N);
            Keep();
            Activations.Erf(px, pz, N);
            Keep();
            Activations.Log1p(px, pz, N);
            Keep();
            Prelu.Forward(px, pa, 5, 7, 6, pz);
            Keep();
            Prelu.SlopeGradient(pg, px, 7, 6, [new KRange(0, 2), new KRange(2, 3)], [0, 1, 2], pz);
            Keep();
        }
        return results;
    }

    private static List<float[]> Recurrent()
    {
        var results = new List<float[]>();
        foreach (RecurrentKind kind in Enum.GetValues<RecurrentKind>())
        {
            var run = new RecurrentRun(kind, new SequenceShape(3, 5, 4, 37), [3, 1, 2, 0, 3]);
            run.Run([0, 2, 5]);
            results.AddRange([run.Y, run.DX, run.DState, .. run.Gradients]);
        }
        return results;
    }

    private static List<float[]> Tables()
    {
        const int Vocabulary = 9, Width = 21, Tokens = 24;
        float[] dy = TestData.Random(Tokens * Width, 1), table = new float[Vocabulary * Width], y = new float[Tokens * Width];
        int[] ids = [.. Enumerable.Range(0, Tokens).Select(i => i * i % Vocabulary)];
        fixed (float* pdy = dy, pt = table, py = y)
        fixed (int* p = ids)
        {
            Embedding.Gradient(pdy, Width, Vocabulary, Width, p, [new KRange(0, 8), new KRange(8, 9), new KRange(17, 7)], [0, 1, 2, 3], pt);
            Embedding.Gather(pt, Vocabulary, Width, p, Tokens, py, Width);
        }
        return [table, y];
    }

    private static List<float[]> Memory()
    {
        const int N = 203, Segments = 11;
        var results = new List<float[]>();
        float[] x = TestData.Awkward(N * Segments, 4), w = TestData.Random(N, 5), s1 = new float[N], s2 = new float[N], s3 = new float[N], sum = new float[N];
        ushort[] half = new ushort[N * Segments];
        void** segments = stackalloc void*[Segments];
        fixed (float* px = x, pw = w, p1 = s1, p2 = s2, p3 = s3, ps = sum)
        fixed (ushort* ph = half)
        {
            foreach (FloatFormat format in Enum.GetValues<FloatFormat>())
            {
                Precisions.FromFloat32(px, format == FloatFormat.Float32 ? px : ph, format, N * Segments);
                byte* values = format == FloatFormat.Float32 ? (byte*)px : (byte*)ph;
                for (int i = 0; i < Segments; i++) segments[i] = values + (i * N * format.Size());
                SegmentJoin.Sum(segments, Segments, format, ps, N);
                results.Add([.. sum]);
                var gradient = new SummedGradient(values, 24, format, 0.9f);
                RmsPropKernel.Update(new RmsPropStep(0.01, 0.9, 1e-6, 0.5, 0.1, true), pw, p1, p2, p3, in gradient, N);
                LionKernel.Update(new LionStep(0.01, WeightDecay: 0.1), pw, p2, in gradient, N);
                AdagradKernel.Update(new AdagradStep(0.01), pw, p1, in gradient, N);
                LarsKernel.Update(new LarsStep(0.01), 0.3, pw, p2, in gradient, N);
                BlockNorms.SumsOfSquares(values, format, N, ps);
                results.AddRange([[.. w], [.. s2], [.. s3], [sum[0]]]);
            }
        }
        return results;
    }
}
