namespace DistTrain.Kernels.Tests;

public unsafe class CoreSetTests
{
    [Fact]
    public void Pool_Pinned_RunsEachWorkerOnItsCore()
    {
        if (!CoreSet.Supported)
        {
            Assert.Throws<PlatformNotSupportedException>(() => new KernelPool(2, new CoreSet(0, 0)));
            return;
        }
        CoreSet allowed = CoreSet.OfCurrentThread();
        var pin = new CoreSet(allowed[0], allowed[allowed.Count - 1], allowed[0]);
        using var pool = new KernelPool(3, pin);
        int* cores = stackalloc int[3];
        int arrived = 0;
        // Each part waits for the others, so three threads run one each.
        pool.Run(3, new Report { Cores = cores, Arrived = &arrived, Caller = Environment.CurrentManagedThreadId });
        int[] workers = [.. new Span<int>(cores, 3).ToArray().Where(c => c >= 0).Order()];
        Assert.Equal([.. new[] { pin[1], pin[2] }.Order()], workers);
        Assert.Equal(allowed.ToString(), CoreSet.OfCurrentThread().ToString());
    }

    [Fact]
    public void CurrentThread_Pinned_ReadsItBack()
    {
        if (!CoreSet.Supported) return;
        string? seen = null;
        int core = CoreSet.OfCurrentThread()[0];
        var thread = new Thread(() =>
        {
            CoreSet.PinCurrentThread(core);
            seen = CoreSet.OfCurrentThread().ToString();
        });
        thread.Start();
        thread.Join();
        Assert.Equal($"{core}", seen);
    }

    [Fact]
    public void Pool_CoreThatIsNotThere_Throws()
    {
        if (!CoreSet.Supported) return;
        var failure = Assert.Throws<ArgumentException>(() => new KernelPool(2, new CoreSet(0, 4095)));
        Assert.Contains("core 4095", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Pool_FewerCoresThanThreads_Throws() =>
        Assert.Contains("3 threads", Assert.Throws<ArgumentException>(() => new KernelPool(3, new CoreSet(0, 0))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("0-3,6", "0,1,2,3,6")]
    [InlineData("5", "5")]
    [InlineData("2, 0", "2,0")]
    public void Parse_Lists_AreRead(string text, string expected) => Assert.Equal(expected, CoreSet.Parse(text).ToString());

    [Theory]
    [InlineData("")]
    [InlineData("a")]
    [InlineData("3-1")]
    [InlineData("1-2-3")]
    [InlineData("-1")]
    [InlineData("99999")]
    public void Parse_Nonsense_Throws(string text) => Assert.Throws<FormatException>(() => CoreSet.Parse(text));

    private struct Report : IParallelBody
    {
        public int* Cores;
        public int* Arrived;
        public int Caller;

        public readonly void Run(int part)
        {
            Interlocked.Increment(ref *Arrived);
            while (Volatile.Read(ref *Arrived) < 3) Thread.Yield();
            CoreSet own = CoreSet.OfCurrentThread();
            Cores[part] = Environment.CurrentManagedThreadId == Caller ? -1 : own.Count == 1 ? own[0] : int.MaxValue;
        }
    }
}
