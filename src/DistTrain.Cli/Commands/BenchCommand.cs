using System.CommandLine;
using System.Globalization;
using System.Text.Json.Serialization;
using DistTrain.Bench;
using DistTrain.Bench.Training;
using DistTrain.Core;
using DistTrain.Kernels;

namespace DistTrain.Cli.Commands;

/// <summary>What <c>bench … --json</c> writes.</summary>
internal sealed record BenchReport(
    [property: JsonPropertyName("results")] IReadOnlyList<BenchRow> Results,
    [property: JsonPropertyName("simd")] string Simd,
    [property: JsonPropertyName("cores")] int Cores,
    [property: JsonPropertyName("numerics_revision")] int NumericsRevision,
    [property: JsonPropertyName("notes")] IReadOnlyList<string> Notes);

/// <summary>One of its results.</summary>
internal sealed record BenchRow(
    [property: JsonPropertyName("name")] string Name,
    [property: JsonPropertyName("value")] double Value,
    [property: JsonPropertyName("unit")] string Unit,
    [property: JsonPropertyName("peer")] string? Peer,
    [property: JsonPropertyName("peer_value")] double? PeerValue,
    [property: JsonPropertyName("ratio")] double? Ratio,
    [property: JsonPropertyName("ratio_low")] double? RatioLow,
    [property: JsonPropertyName("ratio_high")] double? RatioHigh);

/// <summary><c>bench kernels</c> and <c>bench train</c>: measure this machine.</summary>
internal static class BenchCommand
{
    public static Command Create(CliContext context)
    {
        var command = new Command("bench", "Measures this machine: our kernels against its limits and against peers, in turn.");
        command.Add(Measure(context, "kernels", "Measures kernels against the FMA peak, memory bandwidth, OpenBLAS and PyTorch (where they are).", KernelCases.All));
        command.Add(Measure(context, "train", "Measures whole training steps of one worker with one thread against PyTorch and the FMA peak.", TrainCases.All));
        return command;
    }

    private static Command Measure(CliContext context, string name, string description, IEnumerable<BenchCase> all)
    {
        var command = new Command(name, description);
        var filters = new Argument<string[]>("NAME") { Arity = ArgumentArity.ZeroOrMore, Description = "Only what has one of these in its name; all when there is none." };
        var seconds = new Option<double>("--seconds") { HelpName = "S", DefaultValueFactory = _ => 2, Description = "Seconds for each, about." };
        var core = new Option<int>("--core") { HelpName = "N", DefaultValueFactory = _ => KernelBenchOptions.LastCore, Description = "The core that single-threaded ones are pinned to; the last one when not given." };
        var free = new Option<bool>("--no-pin") { Description = "Leaves them on any core." };
        var list = new Option<bool>("--list") { Description = "Prints the names and measures nothing." };
        var alone = new Option<bool>("--no-pytorch") { Description = "Leaves PyTorch out." };
        var python = new Option<string?>("--python") { HelpName = "FILE", Description = "The Python that has PyTorch; looked for when not given." };
        Option<string?> json = CommandTree.JsonOption();
        command.Add(filters);
        foreach (Option option in new Option[] { seconds, core, free, list, alone, python, json }) command.Add(option);
        command.SetAction((parsed, cancellation) =>
        {
            string? jsonFile = parsed.GetValue(json);
            JsonFile.CheckPlace(jsonFile);
            string[] asked = parsed.GetValue(filters) ?? [];
            List<BenchCase> cases = [.. all.Where(c => asked.Length == 0 || asked.Any(f => c.Name.Contains(f, StringComparison.Ordinal)))];
            if (cases.Count == 0) throw new DistTrainException(ExitCode.BadUsage, $"bench {name}: nothing has {string.Join(" or ", asked)} in its name; --list prints the names");
            if (parsed.GetValue(seconds) is <= 0 or > 600 or double.NaN) throw new DistTrainException(ExitCode.BadUsage, "--seconds: must be above 0 and at most 600");
            if (!parsed.GetValue(free) && !KernelBenchOptions.HasCore(parsed.GetValue(core))) throw new DistTrainException(ExitCode.BadUsage, $"--core {parsed.GetValue(core)}: this process may use {Cores()}");
            if (parsed.GetValue(list))
            {
                foreach (BenchCase one in cases) context.Out.WriteLine(one.Name);
                return Task.FromResult(0);
            }
            var options = new KernelBenchOptions
            {
                Seconds = parsed.GetValue(seconds),
                Core = parsed.GetValue(free) ? -1 : parsed.GetValue(core),
                Peers = !parsed.GetValue(alone),
                Python = parsed.GetValue(python),
            };
            List<string> notes = [];
            var rows = new List<BenchRow>();
            context.Out.WriteLine($"{"kernel",-46} {"value",10} {"unit",-8} {"peer",-16} {"peer's",10} {"ratio",7}   quartiles");
            foreach (BenchResult result in KernelBench.Run(cases, options, Note))
            {
                cancellation.ThrowIfCancellationRequested();
                rows.Add(new(result.Name, result.Value, result.Unit, result.Peer, result.PeerValue, result.Ratio, result.RatioLow, result.RatioHigh));
                context.Out.WriteLine(Line(result));
            }
            JsonFile.Write(jsonFile, new BenchReport(rows, SimdPath.Current.ToString(), Environment.ProcessorCount, NumericsRevision.Current, notes));
            return Task.FromResult(0);

            void Note(string text)
            {
                notes.Add(text);
                context.Error.WriteLine($"disttrain: {text}");
            }
        });
        return command;
    }

    private static string Cores() => CoreSet.Supported ? $"cores {CoreSet.OfCurrentThread()}" : $"cores 0 to {Environment.ProcessorCount - 1}";

    private static string Line(BenchResult r) => string.Create(
        CultureInfo.InvariantCulture,
        $"{r.Name,-46} {r.Value,10:G4} {r.Unit,-8} {r.Peer ?? "",-16} {(r.PeerValue is { } v ? v.ToString("G4", CultureInfo.InvariantCulture) : r.Peer is null ? "" : "not here"),10} {(r.Ratio is { } q ? q.ToString("F3", CultureInfo.InvariantCulture) : ""),7}{(r.Ratio is null ? "" : string.Create(CultureInfo.InvariantCulture, $"   {r.RatioLow:F3} to {r.RatioHigh:F3}"))}");
}
