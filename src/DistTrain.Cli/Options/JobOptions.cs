using System.CommandLine;
using System.Globalization;
using DistTrain.Core;
using DistTrain.Jobs;

namespace DistTrain.Cli.Options;

/// <summary>The job and what the command line changes in it.</summary>
internal sealed class JobOptions
{
    private readonly bool _required;

    public JobOptions(Command command, bool required)
    {
        _required = required;
        Path = new Argument<string?>("JOB")
        {
            Description = required ? "The job file (YAML)." : "The job file (YAML); without one, the embedded digits job.",
            Arity = required ? ArgumentArity.ExactlyOne : ArgumentArity.ZeroOrOne,
        };
        command.Add(Path);
        command.Add(Workers);
        command.Add(Servers);
        command.Add(Replicas);
        command.Add(Verify);
        command.Add(Set);
    }

    public Argument<string?> Path { get; }

    public Option<string?> Workers { get; } = WorkersOption();

    public Option<string?> Servers { get; } = ServersOption();

    public Option<int?> Replicas { get; } = new("--replicas") { HelpName = "R", Description = "Second copies of each partition of the model, 0 or 1, on servers of their own; short for --set cluster.replicas=R." };

    public Option<double?> Verify { get; } = VerifyOption();

    public Option<string[]> Set { get; } = SetOption();

    /// <summary><c>--set key=value</c>.</summary>
    public static Option<string[]> SetOption() => new("--set")
    {
        Description = "Changes a value of the job, such as --set training.epochs=5; may come several times, the last wins.",
        HelpName = "key=value",
        Arity = ArgumentArity.OneOrMore,
        AllowMultipleArgumentsPerToken = false,
    };

    private static Option<double?> VerifyOption()
    {
        var option = new Option<double?>("--verify") { HelpName = "F", Description = "The fraction of shards that a second worker computes too, to compare the bits, such as 0.01; short for --set cluster.verify=F." };
        option.CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            if (double.TryParse(text, NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out double value) && value is >= 0 and <= 1) return value;
            result.AddError($"--verify {text}: expected a number from 0 to 1");
            return null;
        };
        return option;
    }

    /// <summary>A count of at least 1.</summary>
    public static Option<int?> Number(string name, string help, string description)
    {
        var option = new Option<int?>(name) { Description = description, HelpName = help };
        option.CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value is >= 1 and <= 4096) return value;
            result.AddError($"{name} {text}: expected a whole number from 1 to 4096");
            return null;
        };
        return option;
    }

    // A count, or the fewest and the most.
    private static Option<string?> WorkersOption()
    {
        var option = new Option<string?>("--workers") { HelpName = "N", Description = "Workers to start, or for a coordinator to wait for; 2:8 begins with two, grows to eight and goes on down to two. Short for --set cluster.workers=N." };
        option.CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            string[] ends = text.Split(':');
            if (ends.Length <= 2 && Array.TrueForAll(ends, e => int.TryParse(e, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value is >= 1 and <= 4096)) return text;
            result.AddError($"--workers {text}: expected a whole number from 1 to 4096, or two such as 2:8");
            return null;
        };
        return option;
    }

    // A count, or 'colocated'.
    private static Option<string?> ServersOption()
    {
        var option = new Option<string?>("--servers") { HelpName = "K", Description = "Parameter servers, or 'colocated' for one in each worker's process; short for --set cluster.servers=K." };
        option.CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            if (text == "colocated" || (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value is >= 1 and <= 4096)) return text;
            result.AddError($"--servers {text}: expected a whole number from 1 to 4096, or colocated");
            return null;
        };
        return option;
    }

    /// <summary>The changes of this command line, to be handed on to another process too.</summary>
    public List<string> Overrides(ParseResult parsed)
    {
        List<string> all = [.. parsed.GetValue(Set) ?? []];
        if (parsed.GetValue(Workers) is { } workers) all.Add($"cluster.workers={workers}");
        if (parsed.GetValue(Servers) is { } servers) all.Add($"cluster.servers={servers}");
        if (parsed.GetValue(Replicas) is { } replicas) all.Add(string.Create(CultureInfo.InvariantCulture, $"cluster.replicas={replicas}"));
        if (parsed.GetValue(Verify) is { } verify) all.Add(string.Create(CultureInfo.InvariantCulture, $"cluster.verify={verify:R}"));
        return all;
    }

    /// <summary>Reads the job.</summary>
    /// <exception cref="DistTrainException">There is none, or it is wrong.</exception>
    public Job Load(ParseResult parsed, IEnumerable<string>? more = null)
    {
        string? path = parsed.GetValue(Path);
        if (path is null && _required) throw new DistTrainException(ExitCode.BadUsage, "a JOB file is missing");
        return JobReader.Load(path, Overrides(parsed).Concat(more ?? []));
    }
}
