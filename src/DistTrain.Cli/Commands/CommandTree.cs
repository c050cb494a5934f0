using System.CommandLine;
using System.CommandLine.Invocation;
using System.Reflection;

namespace DistTrain.Cli.Commands;

/// <summary>All commands. What isn't there doesn't work yet.</summary>
internal static class CommandTree
{
    public static RootCommand Create(CliContext context)
    {
        var root = new RootCommand(
            """
            Trains neural networks with data-parallel worker processes: on this machine by 'train',
            over several by 'coordinator', 'server' and 'worker'. The trained weights are the same
            to the bit for any number of them.

            Examples:
              disttrain train
              disttrain train job.yaml --workers 8 --set training.epochs=5
              disttrain inspect job.yaml

            Exit codes: 0 done, 1 internal error, 2 bad command line or job file, 3 bad data or
            checkpoint, 4 the cluster was lost or could not form, 5 training diverged,
            130 stopped by Ctrl-C after saving.
            """);
        foreach (Option option in root.Options)
        {
            if (option is VersionOption version) version.Action = new PrintVersion(context.Out);
        }

        root.Add(TrainCommand.Create(context));
        root.Add(CoordinatorCommand.Create(context));
        root.Add(ServerCommand.Create(context));
        root.Add(WorkerCommand.Create(context));
        root.Add(EvalCommand.Create(context));
        root.Add(InspectCommand.Create(context));
        root.Add(BenchCommand.Create(context));
        root.Add(DataCommand.Create(context));
        return root;
    }

    /// <summary>The option that every command has.</summary>
    public static Option<string?> JsonOption() => new("--json")
    {
        HelpName = "FILE",
        Description = "Writes one JSON object with the outcome there when the command ends, also when it fails.",
    };

    private sealed class PrintVersion(TextWriter output) : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parseResult)
        {
            string version = typeof(CommandTree).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";
            output.WriteLine($"disttrain {version.Split('+')[0]} (.NET {Environment.Version})");
            return 0;
        }
    }
}
