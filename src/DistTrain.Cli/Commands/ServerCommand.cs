using System.CommandLine;

namespace DistTrain.Cli.Commands;

/// <summary><c>server --join HOST:PORT</c>.</summary>
internal static class ServerCommand
{
    public static Command Create(CliContext context)
    {
        var command = new Command("server", "Keeps a partition of the parameters for a coordinator, which gives it the job.");
        MemberCommand.Fill(command, context, listens: true, threads: null, cores: null, context.Runners.Server);
        return command;
    }
}
