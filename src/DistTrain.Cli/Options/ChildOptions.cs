using System.CommandLine;
using System.Globalization;
using System.IO.Pipes;
using DistTrain.Cli.Launching;

namespace DistTrain.Cli.Options;

/// <summary>The hidden options by which <c>train</c> ties its children to itself.</summary>
internal sealed class ChildOptions
{
    private readonly Option<bool> _lifeline = new("--lifeline") { Hidden = true };
    private readonly Option<string?> _announce = new("--announce") { Hidden = true };
    // The process, the beginning of its job in milliseconds since 1970, and the end of a coordinator before this one.
    private readonly Option<string[]> _follows = new("--follows") { Hidden = true, Arity = new ArgumentArity(3, 3), AllowMultipleArgumentsPerToken = true };

    public ChildOptions(Command command, bool announces = false)
    {
        command.Add(_lifeline);
        if (!announces) return;
        command.Add(_announce);
        command.Add(_follows);
    }

    /// <summary>The launcher's pipe; null for a process of its own.</summary>
    public Lifeline? Lifeline(ParseResult parsed) => parsed.GetValue(_lifeline) ? Launching.Lifeline.OfStandardInput() : null;

    /// <summary>The coordinator that this one follows; null for none.</summary>
    public CoordinatorLoss? Follows(ParseResult parsed) => parsed.GetValue(_follows) is [var pid, var since, var cause]
        ? new CoordinatorLoss(int.Parse(pid, CultureInfo.InvariantCulture), DateTimeOffset.FromUnixTimeMilliseconds(long.Parse(since, CultureInfo.InvariantCulture)), cause)
        : null;

    /// <summary>Tells the launcher where this process listens.</summary>
    public void Announce(ParseResult parsed, string address)
    {
        if (parsed.GetValue(_announce) is not { } handle) return;
        using var pipe = new AnonymousPipeClientStream(PipeDirection.Out, handle);
        using var writer = new StreamWriter(pipe);
        writer.WriteLine(address);
    }
}
