using DistTrain.Kernels.Reference;

namespace DistTrain.Kernels.Tests;

public unsafe class EmbeddingTests
{
    public static TheoryData<int, int, string> Cases => new()
    {
        { 5, 16, "7" }, { 300, 33, "10 0 4 9 9" }, { 3, 1, "1 1 1 1 1 1 1 1 1" }, { 70_000, 20, "5+3 2+1+1 0 6" }, { 1, 7, "2 3" }, { 17, 50, "0 0" }, { 40, 64, "3 3 3 3 3 3 3 3 3 3 3 3 3" },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Gradient_LeavesLevelsAndThreads_EqualsReference(int vocabulary, int width, string leaves)
    {
        var (ranges, starts, tokens) = LeafLists.Parse(leaves);
        int stride = width + 3;
        using var dy = new BoundedMemory(((tokens - 1) * stride) + width);
        TestData.Fill(dy.Span, 3);
        float[] values = dy.Span.ToArray();
        // Few different ids, at both ends of the table.
        int[] ids = [.. Enumerable.Range(0, tokens).Select(i => i % 5 == 0 ? vocabulary - 1 : i * 7 % Math.Min(vocabulary, 6))];
        using var table = new BoundedMemory(vocabulary * width);
        float[] expected = new float[vocabulary * width];
        foreach (int row in ids.Distinct())
            for (int j = 0; j < width; j++)
                expected[(row * width) + j] = ReferenceEmbedding.Gradient(values, stride, ids, ranges, starts, row, j);
        using var pool = new KernelPool(3);
        foreach (SimdLevel level in TestData.Levels)
        {
            using var forced = SimdPath.Force(level);
            fixed (int* p = ids)
            {
                table.Span.Fill(9);
                Embedding.Gradient(dy.Pointer, stride, vocabulary, width, p, ranges, starts, table.Pointer, pool: pool);
                TestData.AssertSameBits(expected, table.Span, $"{leaves} at {level}");
                Embedding.ClearRows(table.Pointer, vocabulary, width, p, tokens);
                Assert.DoesNotContain(table.Span.ToArray(), v => v != 0);
                Embedding.Gradient(dy.Pointer, stride, vocabulary, width, p, ranges, starts, table.Pointer, clear: false);
                TestData.AssertSameBits(expected, table.Span, $"{leaves} at {level}, table kept clear");
            }
        }
    }

    [Fact]
    public void Gradient_WorkersJoinedAlongTheTree_EqualsOneWorker()
    {
        const int Vocabulary = 9, Width = 21, Tokens = 40;
        float[] dy = TestData.Random(Tokens * Width, 1);
        int[] ids = [.. Enumerable.Range(0, Tokens).Select(i => i * i % Vocabulary)];
        float[] Part(int lo, int hi)
        {
            var table = new float[Vocabulary * Width];
            KRange[] ranges = [.. Enumerable.Range(lo, hi - lo).Select(i => new KRange(i * 8, 8))];
            fixed (float* py = dy, pt = table)
            fixed (int* pi = ids)
                Embedding.Gradient(py, Width, Vocabulary, Width, pi, ranges, [.. Enumerable.Range(0, hi - lo + 1)], pt);
            return table;
        }

        float[] joined = [.. Part(0, 4).Zip(Part(4, 5), (a, b) => a + b)];
        TestData.AssertSameBits(Part(0, 5), joined, "two workers");
    }

    [Fact]
    public void Gather_LevelsAndThreads_CopiesRows()
    {
        const int Vocabulary = 11, Width = 37, Tokens = 2_000;
        using var table = new BoundedMemory(Vocabulary * Width);
        TestData.Fill(table.Span, 1);
        using var y = new BoundedMemory(Tokens * Width);
        int[] ids = [.. Enumerable.Range(0, Tokens).Select(i => i * 3 % Vocabulary)];
        using var pool = new KernelPool(2);
        foreach (SimdLevel level in TestData.Levels)
        {
            using var forced = SimdPath.Force(level);
            y.Span.Clear();
            fixed (int* p = ids) Embedding.Gather(table.Pointer, Vocabulary, Width, p, Tokens, y.Pointer, Width, pool);
            for (int i = 0; i < Tokens; i++) Assert.True(table.Span.Slice(ids[i] * Width, Width).SequenceEqual(y.Span.Slice(i * Width, Width)));
        }
    }

    [Fact]
    public void Gradient_Padding_GetsNone()
    {
        float[] dy = [1, 2, 4], table = new float[3];
        int[] ids = [2, 0, 2];
        fixed (float* py = dy, pt = table)
        fixed (int* p = ids)
            Embedding.Gradient(py, 1, 3, 1, p, [new KRange(0, 3)], [0, 1], pt, skip: 0);
        Assert.Equal([0, 0, 5], table);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(4)]
    [InlineData(int.MaxValue)]
    public void Id_OutOfRange_IsRefusedWithItsPlace(int id)
    {
        using var x = new NativeBuffer(64);
        float* p = x.Pointer;
        int* ids = stackalloc int[] { 0, 3, id };
        nint at = (nint)ids;
        string message = Assert.Throws<ArgumentOutOfRangeException>(() => Embedding.Gather(p, 4, 2, (int*)at, 3, p + 32, 2)).Message;
        Assert.Contains($"Token 2 has id {id}; the table has 4 rows", message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => Embedding.Gradient(p, 2, 4, 2, (int*)at, [new KRange(0, 3)], [0, 1], p + 32));
        Embedding.Gradient(p, 2, 4, 2, (int*)at, [new KRange(0, 2)], [0, 1], p + 32);
    }
}
