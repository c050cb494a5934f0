namespace DistTrain.Kernels.Tests;

public unsafe class KernelPoolTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    [InlineData(7)]
    public void Run_ManyRegions_RunsEachPartOnce(int threads)
    {
        using var pool = new KernelPool(threads);
        int* counts = stackalloc int[100];
        for (int round = 1; round <= 2_000; round++)
        {
            int parts = round % 100;
            new Span<int>(counts, 100).Clear();
            pool.Run(parts, new Count { Counts = counts });
            for (int i = 0; i < 100; i++) Assert.Equal(i < parts ? 1 : 0, counts[i]);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Run_PartThrows_EndsTheOthersAndPropagates(int threads)
    {
        using var pool = new KernelPool(threads);
        int* counts = stackalloc int[8];
        var failure = Assert.Throws<InvalidOperationException>(() => pool.Run(8, new Count { Counts = counts, Fails = true }));
        Assert.Equal("part 3", failure.Message);
        for (int i = 0; i < 8; i++) Assert.Equal(1, counts[i]);
        pool.Run(8, new Count { Counts = counts });
        Assert.Equal(2, counts[7]);
    }

    [Fact]
    public void Run_Nested_RunsInline()
    {
        using var pool = new KernelPool(2);
        var handle = System.Runtime.InteropServices.GCHandle.Alloc(pool);
        int* counts = stackalloc int[4];
        pool.Run(2, new Nested { Pool = System.Runtime.InteropServices.GCHandle.ToIntPtr(handle), Counts = counts });
        handle.Free();
        for (int i = 0; i < 4; i++) Assert.Equal(1, counts[i]);
    }

    [Fact]
    public void Run_SteadyState_AllocatesNothing()
    {
        using var pool = new KernelPool(2);
        int* counts = stackalloc int[8];
        for (int i = 0; i < 100; i++) pool.Run(8, new Count { Counts = counts });
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++) pool.Run(8, new Count { Counts = counts });
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void Run_AfterWorkersParked_StillRunsAllParts()
    {
        using var pool = new KernelPool(2);
        int* counts = stackalloc int[2];
        for (int round = 1; round <= 20; round++)
        {
            // Long enough for the workers to stop spinning; if they have not, the test is only easier.
            Thread.Sleep(1);
            pool.Run(2, new Count { Counts = counts });
            Assert.Equal((round, round), (counts[0], counts[1]));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Run_PartThrowsOnAnyNumberOfThreads_EndsTheOthers(int threads)
    {
        using var pool = new KernelPool(threads);
        int* counts = stackalloc int[8];
        Assert.Throws<InvalidOperationException>(() => pool.Run(8, new Count { Counts = counts, Fails = true }));
        for (int i = 0; i < 8; i++) Assert.Equal(1, counts[i]);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Run_TooManyParts_ThrowsOnAnyNumberOfThreads(int threads)
    {
        using var pool = new KernelPool(threads);
        Assert.Throws<ArgumentOutOfRangeException>(() => pool.Run(70_000, default(Count)));
    }

    [Fact]
    public void Dispose_TwiceAndThenUsed_RunsOnTheCaller()
    {
        var pool = new KernelPool(3);
        int* counts = stackalloc int[4];
        pool.Run(4, new Count { Counts = counts });
        pool.Dispose();
        pool.Dispose();
        pool.Run(4, new Count { Counts = counts });
        for (int i = 0; i < 4; i++) Assert.Equal(2, counts[i]);
    }

    [Fact]
    public void Run_TwoCallersAtOnce_RunEachOfTheirParts()
    {
        using var pool = new KernelPool(3);
        long[] sums = new long[2];
        using var start = new Barrier(2);
        Thread[] callers = [.. Enumerable.Range(0, 2).Select(caller => new Thread(() =>
        {
            int* counts = stackalloc int[50];
            start.SignalAndWait();
            for (int round = 0; round < 5_000; round++) pool.Run(1 + (round % 50), new Count { Counts = counts });
            for (int i = 0; i < 50; i++) sums[caller] += counts[i];
        }))];
        foreach (Thread caller in callers) caller.Start();
        foreach (Thread caller in callers) caller.Join();
        Assert.Equal([100L * 1275, 100L * 1275], sums);
    }

    [Fact]
    public void Run_RepeatedShortRegions_EachSeesItsOwnBody()
    {
        using var pool = new KernelPool(4);
        int* counts = stackalloc int[2 * 4];
        for (int round = 0; round < 50_000; round++) pool.Run(1 + (round % 4), new Count { Counts = counts + (round % 2 * 4) });
        int[] expected = new int[8];
        for (int round = 0; round < 50_000; round++)
            for (int part = 0; part <= round % 4; part++) expected[(round % 2 * 4) + part]++;
        Assert.Equal(expected, new Span<int>(counts, 8).ToArray());
    }

    [Fact]
    public void Pool_NoThreads_Throws() => Assert.Throws<ArgumentOutOfRangeException>(() => new KernelPool(0));

    private struct Count : IParallelBody
    {
        public int* Counts;
        public bool Fails;

        public readonly void Run(int part)
        {
            Interlocked.Increment(ref Counts[part]);
            if (Fails && part == 3) throw new InvalidOperationException("part 3");
        }
    }

    private struct Nested : IParallelBody
    {
        public nint Pool;
        public int* Counts;

        public readonly void Run(int part)
        {
            var pool = (KernelPool)System.Runtime.InteropServices.GCHandle.FromIntPtr(Pool).Target!;
            pool.Run(2, new Count { Counts = Counts + (part * 2) });
        }
    }
}
