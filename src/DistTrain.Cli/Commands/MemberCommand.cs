using System.CommandLine;
using DistTrain.Cli.Launching;
using DistTrain.Cli.Options;
using DistTrain.Core;

namespace DistTrain.Cli.Commands;

/// <summary>What <c>worker</c> and <c>server</c> have in common: they join, and do as the coordinator says.</summary>
internal static class MemberCommand
{
    public static void Fill(Command command, CliContext context, bool listens, Option<int?>? threads, Option<string?>? cores, Func<MemberOptions, CancellationToken, Task<ExitCode>> run, Option<bool>? withServer = null)
    {
        var network = new NetworkArguments(command, joins: true, listens);
        Option<string?> json = CommandTree.JsonOption();
        var child = new ChildOptions(command);
        if (threads is not null) command.Add(threads);
        if (cores is not null) command.Add(cores);
        if (withServer is not null) command.Add(withServer);
        command.Add(json);
        command.SetAction(async (parsed, _) =>
        {
            string? jsonFile = parsed.GetValue(json);
            JsonFile.CheckPlace(jsonFile);
            using Lifeline? lifeline = child.Lifeline(parsed);
            using StopSignals signals = lifeline is null ? StopSignals.Handle() : StopSignals.LeaveToLauncher(lifeline);
            (string Token, string Join)? told = lifeline is null ? null : (await lifeline.Token, await lifeline.Join);
            bool server = withServer is null || parsed.GetValue(withServer);
            var options = new MemberOptions
            {
                Network = network.Read(parsed, told?.Join, told?.Token, quiet: !server),
                Threads = (threads is null ? null : parsed.GetValue(threads)) ?? Environment.ProcessorCount,
                Cores = cores is null ? null : parsed.GetValue(cores),
                WithServer = withServer is not null && server,
                Log = lifeline is null ? line => Log(context, line) : null,
            };
            // In a local run the coordinator saves and says when to end; the launcher's word is for the signals alone.
            ExitCode code = await run(options, lifeline is null ? signals.Stop : CancellationToken.None);
            JsonFile.Write(jsonFile, new Outcome((int)code, null));
            return (int)code;
        });
    }

    private static void Log(CliContext context, string line)
    {
        context.Out.WriteLine(line);
        context.Out.Flush();
    }
}
