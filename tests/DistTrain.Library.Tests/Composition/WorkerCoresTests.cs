using DistTrain.Composition;
using DistTrain.Core;
using DistTrain.Jobs;
using DistTrain.Kernels;

namespace DistTrain.Tests.Composition;

public sealed class WorkerCoresTests
{
    private static readonly int Core = CoreSet.Supported ? CoreSet.OfCurrentThread()[0] : 0;

    [Fact]
    public void Share_NoList_PinsNothing()
    {
        Assert.Null(WorkerCores.Share(new ClusterOptions { Workers = 4096 }));
        Assert.Null(WorkerCores.Of(null, 4096, "--cores"));
    }

    [Fact]
    public void Share_OneCoreNamedTwice_IsSharedByTwoWorkers()
    {
        if (!CoreSet.Supported) return;
        IReadOnlyList<CoreSet> shared = WorkerCores.Share(new ClusterOptions { Workers = 2, Threads = 2, Cores = $"{Core},{Core},{Core},{Core},{Core}" })!;
        Assert.Equal([$"{Core},{Core}", $"{Core},{Core}"], shared.Select(c => c.ToString()));
    }

    [Fact]
    public void Of_Auto_TakesTheFirstThatTheProcessMayUse()
    {
        if (!CoreSet.Supported) return;
        Assert.Equal($"{Core}", WorkerCores.Of("auto", 1, "--cores")!.ToString());
    }

    [Fact]
    public void Of_WrongLists_SayWhatIsWrong()
    {
        if (!CoreSet.Supported) return;
        AssertRefused("4095", 1, "this process may use");
        AssertRefused("two", 1, "\"two\" is no list of cores");
        AssertRefused($"{Core}", 2, "1 worker of 2 threads need 2 cores; there are 1");
        AssertRefused("auto", 4000, "1 worker of 4000 threads need 4000 cores");
    }

    private static void AssertRefused(string list, int threads, string expected)
    {
        var refused = Assert.Throws<DistTrainException>(() => WorkerCores.Of(list, threads, "--cores"));
        Assert.Equal(ExitCode.BadUsage, refused.ExitCode);
        Assert.StartsWith($"--cores {list}: ", refused.Message, StringComparison.Ordinal);
        Assert.Contains(expected, refused.Message, StringComparison.Ordinal);
    }
}
