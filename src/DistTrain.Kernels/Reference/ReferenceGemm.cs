using System.Numerics;

namespace DistTrain.Kernels.Reference;

/// <summary>Matrix products by three plain loops, in the documented order.</summary>
internal static unsafe class ReferenceGemm
{
    /// <summary>See <see cref="Gemm"/>.</summary>
    public static void Multiply(
        bool transA, bool transB, int m, int n, int k, float alpha, float* a, int lda, float* b, int ldb,
        float beta, float* c, int ldc, float* bias, Activation activation)
    {
        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < n; j++)
            {
                float sum = 0;
                for (int l = 0; l < k; l++)
                    sum = MathF.FusedMultiplyAdd(transA ? a[(l * lda) + i] : a[(i * lda) + l], transB ? b[(j * ldb) + l] : b[(l * ldb) + j], sum);
                float* target = c + (i * ldc) + j;
                if (alpha != 1) sum *= alpha;
                if (beta != 0) sum = MathF.FusedMultiplyAdd(beta, *target, sum);
                if (bias != null) sum += bias[j];
                *target = ReferenceFunctions.Activate(activation, sum);
            }
        }
    }

    /// <summary>See <see cref="SegmentedGemm.WeightGradient"/>; the tree is the recursive one of the definition.</summary>
    public static void WeightGradient(
        float* dY, int strideDY, float* x, int strideX, int outputs, int inputs,
        KRange[] ranges, int[] leafStarts, float* dW, int strideDW)
    {
        for (int o = 0; o < outputs; o++)
        {
            for (int i = 0; i < inputs; i++)
            {
                int output = o, input = i;
                dW[(o * strideDW) + i] = Tree(0, leafStarts.Length - 1, leaf =>
                {
                    float sum = 0;
                    for (int r = leafStarts[leaf]; r < leafStarts[leaf + 1]; r++)
                        for (int row = ranges[r].Start; row < ranges[r].Start + ranges[r].Count; row++)
                            sum = MathF.FusedMultiplyAdd(dY[(row * strideDY) + output], x[(row * strideX) + input], sum);
                    return sum;
                });
            }
        }
    }

    /// <summary>See <see cref="SegmentedGemm.ColumnSum"/>.</summary>
    public static void ColumnSum(float* dY, int strideDY, int outputs, KRange[] ranges, int[] leafStarts, float* db)
    {
        for (int o = 0; o < outputs; o++)
        {
            int output = o;
            db[o] = Tree(0, leafStarts.Length - 1, leaf =>
            {
                float sum = 0;
                for (int r = leafStarts[leaf]; r < leafStarts[leaf + 1]; r++)
                    for (int row = ranges[r].Start; row < ranges[r].Start + ranges[r].Count; row++)
                        sum += dY[(row * strideDY) + output];
                return sum;
            });
        }
    }

    /// <summary>The shard tree: [lo, hi) splits at lo + the largest power of two below its length.</summary>
    public static float Tree(int lo, int hi, Func<int, float> leaf)
    {
        if (hi - lo == 1) return leaf(lo);
        int split = lo + (int)(BitOperations.RoundUpToPowerOf2((uint)(hi - lo)) / 2);
        float left = Tree(lo, split, leaf);
        return left + Tree(split, hi, leaf);
    }
}
