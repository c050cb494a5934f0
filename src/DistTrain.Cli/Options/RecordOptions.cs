using System.CommandLine;
using DistTrain.Cli.Commands;
using DistTrain.Core;

namespace DistTrain.Cli.Options;

/// <summary>The files that a run writes beside its checkpoints: <c>--json</c>, <c>--trace</c>, <c>--audit</c>.</summary>
internal sealed class RecordOptions
{
    private readonly Option<string?> _json = CommandTree.JsonOption();
    private readonly Option<string?> _trace = new("--trace") { HelpName = "FILE", Description = "Writes a trace of what every process did in its last steps, for ui.perfetto.dev or chrome://tracing." };
    private readonly Option<string?> _audit = new("--audit") { HelpName = "FILE", Description = "Records which examples each step used, a line of JSON for each step, checked against what the servers counted." };

    public RecordOptions(Command command)
    {
        foreach (Option<string?> option in All) command.Add(option);
    }

    private Option<string?>[] All => [_trace, _audit, _json];

    /// <summary>The file of the closing figures; null for none.</summary>
    public string? Json(ParseResult parsed) => parsed.GetValue(_json);

    /// <summary>The others.</summary>
    public RunRecords Read(ParseResult parsed) => new(parsed.GetValue(_trace), parsed.GetValue(_audit));

    /// <summary>Refuses places that can't be written to, and one place for two files, of which the later would replace the other.</summary>
    /// <exception cref="DistTrainException">BadUsage: which.</exception>
    public void Check(ParseResult parsed)
    {
        var places = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (Option<string?> option in Enumerable.Reverse(All))
        {
            if (parsed.GetValue(option) is not { } file) continue;
            JsonFile.CheckPlace(file, option.Name);
            if (!JsonFile.IsDevice(file) && !places.TryAdd(Path.GetFullPath(file), option.Name)) throw new DistTrainException(ExitCode.BadUsage, $"{option.Name} {file}: {places[Path.GetFullPath(file)]} writes to the same file");
        }
    }

    /// <summary>The options of this command line, for another process.</summary>
    public List<string> Arguments(ParseResult parsed) => [.. All.Where(o => parsed.GetValue(o) is not null).SelectMany(o => new[] { o.Name, parsed.GetValue(o)! })];
}
