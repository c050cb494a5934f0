using DistTrain.Bench.Peers;
using DistTrain.Kernels;

namespace DistTrain.Bench;

/// <summary>How <see cref="KernelBench"/> measures.</summary>
public sealed record KernelBenchOptions
{
    /// <summary>The last core that the calling thread may run on, whose number a container may put beyond the processor count.</summary>
    public static int LastCore => CoreSet.Supported && CoreSet.OfCurrentThread() is var cores ? cores[cores.Count - 1] : Environment.ProcessorCount - 1;

    /// <summary>Whether the calling thread may run on a core.</summary>
    public static bool HasCore(int core) => CoreSet.Supported ? CoreSet.OfCurrentThread().Contains(core) : core >= 0 && core < Environment.ProcessorCount;

    /// <summary>Only cases whose name holds one of these; all when empty.</summary>
    public IReadOnlyList<string> Filters { get; init; } = [];

    /// <summary>Seconds for each case, about.</summary>
    public double Seconds { get; init; } = 2;

    /// <summary>Seconds of one contender's burst, about.</summary>
    public double BurstSeconds { get; init; } = 0.004;

    /// <summary>The core that single-threaded cases are pinned to; negative for none.</summary>
    public int Core { get; init; } = LastCore;

    /// <summary>Whether peers that are not part of this program are measured too.</summary>
    public bool Peers { get; init; } = true;

    /// <summary>The Python that has PyTorch; null to look for one.</summary>
    public string? Python { get; init; }
}

/// <summary>Measures kernels against the machine's limits and against peers, in turn.</summary>
public static class KernelBench
{
    /// <summary>Measures and gives each result as soon as it is there.</summary>
    /// <param name="cases">What to measure.</param>
    /// <param name="options">How.</param>
    /// <param name="note">Hears what is missing on this machine.</param>
    public static IEnumerable<BenchResult> Run(IEnumerable<BenchCase> cases, KernelBenchOptions options, Action<string> note)
    {
        using var affinity = new CpuAffinity(options.Core);
        affinity.Pin();
        using TorchProcess? torch = options.Peers ? TorchProcess.TryStart(options.Python, note) : null;
        var turns = new Turns(options.BurstSeconds, options.Seconds);
        foreach (BenchCase one in cases)
        {
            if (options.Filters.Count > 0 && !options.Filters.Any(f => one.Name.Contains(f, StringComparison.Ordinal))) continue;
            affinity.Pin();
            using var setup = new BenchSetup(one, torch, affinity);
            one.Prepare(setup);
            Contender ours = setup.Mine ?? throw new InvalidOperationException($"{one.Name}: the case measures nothing.");
            double[][] times = turns.Measure([ours, .. setup.Peers]);
            for (int i = 0; i < setup.Peers.Count; i++) yield return Compare(one, times[0], setup.Peers[i], times[i + 1]);
            foreach (string missing in setup.Missing) yield return new BenchResult(one.Name, Value(one, one.Work, times[0]), UnitName(one.Unit), missing, null, null, null, null);
            if (setup.Peers.Count + setup.Missing.Count == 0) yield return new BenchResult(one.Name, Value(one, one.Work, times[0]), UnitName(one.Unit), null, null, null, null, null);
        }
    }

    private static BenchResult Compare(BenchCase one, double[] ours, Contender peer, double[] theirs)
    {
        double[] ratios = [.. ours.Zip(theirs, (mine, its) => its / mine * (one.Work / peer.Work))];
        return new BenchResult(
            one.Name,
            Value(one, one.Work, ours),
            UnitName(one.Unit),
            peer.Name,
            Value(one, peer.Work, theirs),
            Turns.Quantile(ratios, 0.5),
            Turns.Quantile(ratios, 0.25),
            Turns.Quantile(ratios, 0.75));
    }

    private static double Value(BenchCase one, double work, double[] seconds)
    {
        double median = Turns.Quantile(seconds, 0.5);
        return one.Unit == BenchUnit.Microseconds ? median * 1e6 : work / median / 1e9;
    }

    private static string UnitName(BenchUnit unit) => unit switch
    {
        BenchUnit.Gflops => "GFLOP/s",
        BenchUnit.GigabytesPerSecond => "GB/s",
        _ => "us",
    };
}
