using System.Globalization;
using System.Text.Json;
using DistTrain.Bench.Peers;
using DistTrain.Bench.Training;

namespace DistTrain.Bench.Distributed;

/// <summary>
/// Measures steps of a whole cluster on this machine: runs of ours and of its peers in turn, start-up left out. A ratio is
/// taken within a round; what is reported is the median of rounds.
/// </summary>
public static class ClusterBench
{
    private const string Unit = "ms_per_step";
    private const double LinkSeconds = 0.3;

    /// <summary>The names of what can be measured.</summary>
    public static IEnumerable<string> Names => BenchNetwork.All.Select(n => n.Name);

    /// <summary>Measures and gives each network's results as soon as they are there.</summary>
    /// <param name="program">The program to run, and the arguments that stand before a command.</param>
    /// <param name="options">How.</param>
    /// <param name="note">Hears what is missing on this machine.</param>
    /// <param name="cancellation">Ends it between two runs.</param>
    /// <exception cref="OperationCanceledException">It was ended.</exception>
    public static IEnumerable<BenchResult> Run(IReadOnlyList<string> program, ClusterBenchOptions options, Action<string> note, CancellationToken cancellation = default)
    {
        string? python = options.Peers ? TorchProcess.FindPython(options.Python, note) : null;
        string directory = Directory.CreateTempSubdirectory("disttrain-bench-").FullName;
        try
        {
            foreach (BenchNetwork network in BenchNetwork.All)
            {
                if (options.Filters.Count > 0 && !options.Filters.Any(f => network.Name.Contains(f, StringComparison.Ordinal))) continue;
                foreach (BenchResult result in Measure(network, program, options, python, directory, cancellation)) yield return result;
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static IEnumerable<BenchResult> Measure(BenchNetwork network, IReadOnlyList<string> program, ClusterBenchOptions options, string? python, string directory, CancellationToken cancellation)
    {
        string job = ClusterJob.Write(network, directory, options);
        int batch = options.Batch ?? network.Batch;
        var cluster = new ClusterRun(program, job, batch, Arguments(options));
        var alone = new ClusterRun(program, job, batch, ["--in-process", "--workers", "1", "--servers", "1", "--threads", "1"]);
        List<(string Name, Func<double> Run)> peers = [("one_process", () => alone.Run(options.Seconds, cancellation).StepMs)];
        if (python is not null) peers.AddRange(Ddp(network, options, python, cancellation));
        var ours = new List<double>();
        List<double>[] theirs = [.. peers.Select(_ => new List<double>())];
        for (int round = 0; round < options.Rounds; round++)
        {
            cancellation.ThrowIfCancellationRequested();
            ours.Add(cluster.Run(options.Seconds, cancellation).StepMs);
            for (int p = 0; p < peers.Count; p++) theirs[p].Add(peers[p].Run());
        }

        string name = string.Create(CultureInfo.InvariantCulture, $"train_{network.Name}_batch_{batch}_{options.Workers}_workers_{options.Channel}");
        for (int p = 0; p < peers.Count; p++)
        {
            double[] ratios = [.. ours.Zip(theirs[p], (mine, its) => its / mine)];
            yield return new BenchResult(name, Median(ours), Unit, peers[p].Name, Median(theirs[p]), Median(ratios), Turns.Quantile(ratios, 0.25), Turns.Quantile(ratios, 0.75));
        }

        foreach (BenchResult part in Parts(name, cluster, alone, options, cancellation)) yield return part;
        if (python is null && options.Peers) yield return new BenchResult(name, Median(ours), Unit, "pytorch_ddp", null, null, null, null);
    }

    // Runs of their own, traced: the others are timed without.
    private static IEnumerable<BenchResult> Parts(string name, ClusterRun cluster, ClusterRun alone, ClusterBenchOptions options, CancellationToken cancellation)
    {
        ClusterTimes whole = cluster.Run(options.Seconds, cancellation, trace: true), one = alone.Run(options.Seconds, cancellation, trace: true);
        if (whole.Split is not { } split || one.Split is not { } compute) return [];
        double link = options.Channel == "grpc" ? LoopbackLink.BytesPerSecond(LinkSeconds) : 0;
        double linkMs = new StepTraffic(whole.PushedBytes, whole.BroadcastBytes, link).LinkMs(options.Workers, colocated: options.Servers == 0);
        return StepParts.Of(name, split, StepParts.IdealMs(compute, options.Workers, linkMs));
    }

    private static List<string> Arguments(ClusterBenchOptions options)
    {
        List<string> arguments = ["--workers", options.Workers.ToString(CultureInfo.InvariantCulture), "--threads", "1", "--servers", options.Servers == 0 ? "colocated" : options.Servers.ToString(CultureInfo.InvariantCulture)];
        if (options.Channel == "in-process") arguments.Add("--in-process");
        else if (options.Channel == "grpc") arguments.AddRange(["--channel", "grpc"]);
        foreach (string change in options.Overrides) arguments.AddRange(["--set", change]);
        return arguments;
    }

    // As it comes, and with what its documentation recommends for speed; images pixel by pixel too where that may help.
    private static List<(string Name, Func<double> Run)> Ddp(BenchNetwork network, ClusterBenchOptions options, string python, CancellationToken cancellation)
    {
        int rows = Math.Max(1, (options.Batch ?? network.Batch) / options.Workers);
        List<(string, Func<double>)> runs = [];
        foreach ((string name, bool tuned, bool last) in (ReadOnlySpan<(string, bool, bool)>)[("pytorch_ddp", false, false), ("pytorch_ddp_tuned", true, network.HasLayouts)])
        {
            string json = JsonSerializer.Serialize(new
            {
                setup = network.TorchSetup(rows, last),
                optimizer = network.TorchUpdate(together: tuned),
                ddp = tuned ? new Dictionary<string, object> { ["gradient_as_bucket_view"] = true, ["broadcast_buffers"] = false, ["static_graph"] = true } : [],
                to_none = !tuned,
            });
            var run = new DdpRun(python, options.Workers, json);
            runs.Add((name, () => run.Run(options.Seconds, cancellation)));
        }

        return runs;
    }

    private static double Median(IEnumerable<double> values) => Turns.Quantile(values, 0.5);
}
