using System.CommandLine;
using System.IO.Pipes;
using DistTrain.Cli.Launching;

namespace DistTrain.Cli.Options;

/// <summary>The hidden options by which <c>train</c> ties its children to itself.</summary>
internal sealed class ChildOptions
{
    private readonly Option<bool> _lifeline = new("--lifeline") { Hidden = true };
    private readonly Option<string?> _announce = new("--announce") { Hidden = true };

    public ChildOptions(Command command, bool announces = false)
    {
        command.Add(_lifeline);
        if (announces) command.Add(_announce);
    }

    /// <summary>The launcher's pipe; null for a process of its own.</summary>
    public Lifeline? Lifeline(ParseResult parsed) => parsed.GetValue(_lifeline) ? Launching.Lifeline.OfStandardInput() : null;

    /// <summary>Tells the launcher where this process listens.</summary>
    public void Announce(ParseResult parsed, string address)
    {
        if (parsed.GetValue(_announce) is not { } handle) return;
        using var pipe = new AnonymousPipeClientStream(PipeDirection.Out, handle);
        using var writer = new StreamWriter(pipe);
        writer.WriteLine(address);
    }
}
