using System.CommandLine;
using DistTrain.Bench;
using DistTrain.Bench.Distributed;
using DistTrain.Bench.Training;
using DistTrain.Core;

namespace DistTrain.Cli.Commands;

/// <summary><c>bench kernels</c>, <c>bench train</c> and <c>bench channel</c>: measure this machine.</summary>
internal static class BenchCommand
{
    public static Command Create(CliContext context)
    {
        var command = new Command("bench", "Measures this machine: our kernels against its limits and against peers, in turn.");
        command.Add(Measure(context, "kernels", "Measures kernels against the FMA peak, memory bandwidth, OpenBLAS and PyTorch (where they are).", KernelCases.All, null));
        command.Add(Measure(context, "train", "Measures whole training steps against PyTorch: of one worker with one thread, or of a cluster.", TrainCases.All, new ClusterBenchOptionsReader()));
        command.Add(BenchChannelCommand.Create(context));
        return command;
    }

    private static Command Measure(CliContext context, string name, string description, IEnumerable<BenchCase> all, ClusterBenchOptionsReader? clusters)
    {
        var command = new Command(name, description);
        var filters = new Argument<string[]>("NAME") { Arity = ArgumentArity.ZeroOrMore, Description = "Only what has one of these in its name; all when there is none." };
        var seconds = new Option<double>("--seconds") { HelpName = "S", DefaultValueFactory = _ => 2, Description = "Seconds for each, about; of a cluster, for each run." };
        var core = new Option<int>("--core") { HelpName = "N", DefaultValueFactory = _ => KernelBenchOptions.LastCore(), Description = "The core that single-threaded ones are pinned to." };
        var free = new Option<bool>("--no-pin") { Description = "Leaves them on any core." };
        var list = new Option<bool>("--list") { Description = "Prints the names and measures nothing." };
        var alone = new Option<bool>("--no-pytorch") { Description = "Leaves PyTorch out." };
        var python = new Option<string?>("--python") { HelpName = "FILE", Description = "The Python that has PyTorch; looked for when not given." };
        Option<string?> json = CommandTree.JsonOption();
        command.Add(filters);
        foreach (Option option in (Option[])[seconds, core, free, list, alone, python, .. clusters?.All ?? [], json]) command.Add(option);
        command.SetAction((parsed, cancellation) =>
        {
            string? jsonFile = parsed.GetValue(json);
            JsonFile.CheckPlace(jsonFile);
            ClusterBenchOptions? cluster = clusters?.Read(parsed);
            string[] asked = parsed.GetValue(filters) ?? [];
            List<string> names = [.. cluster is null ? all.Select(c => c.Name) : ClusterBench.Names];
            foreach (string unknown in asked.Where(f => !names.Exists(n => n.Contains(f, StringComparison.Ordinal)) && names.Exists(n => asked.Any(a => n.Contains(a, StringComparison.Ordinal))))) context.Error.WriteLine($"disttrain: bench {name}: nothing has {unknown} in its name");
            names.RemoveAll(n => asked.Length > 0 && !asked.Any(f => n.Contains(f, StringComparison.Ordinal)));
            if (names.Count == 0) throw new DistTrainException(ExitCode.BadUsage, $"bench {name}: nothing has {string.Join(" or ", asked)} in its name; --list prints the names");
            if (parsed.GetValue(seconds) is <= 0 or > 600 or double.NaN) throw new DistTrainException(ExitCode.BadUsage, "--seconds: must be above 0 and at most 600");
            if (!parsed.GetValue(free) && !KernelBenchOptions.HasCore(parsed.GetValue(core))) throw new DistTrainException(ExitCode.BadUsage, $"--core: this machine has no core {parsed.GetValue(core)}");
            if (parsed.GetValue(list))
            {
                foreach (string one in names) context.Out.WriteLine(one);
                return Task.FromResult(0);
            }

            if (cluster is not null)
            {
                ClusterBenchOptions runs = cluster with { Filters = asked, Seconds = parsed.GetValue(seconds), Peers = !parsed.GetValue(alone), Python = parsed.GetValue(python) };
                return Task.FromResult(BenchReport.Collect(context, jsonFile, "cluster", note => ClusterBench.Run([context.Executable.File, .. context.Executable.Prefix], runs, note, cancellation)));
            }

            var options = new KernelBenchOptions
            {
                Filters = asked,
                Seconds = parsed.GetValue(seconds),
                Core = parsed.GetValue(free) ? -1 : parsed.GetValue(core),
                Peers = !parsed.GetValue(alone),
                Python = parsed.GetValue(python),
            };
            return Task.FromResult(BenchReport.Collect(context, jsonFile, "kernel", note => KernelBench.Run(all, options, note, cancellation)));
        });
        return command;
    }
}
