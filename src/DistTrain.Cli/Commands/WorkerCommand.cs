using System.CommandLine;
using DistTrain.Cli.Options;

namespace DistTrain.Cli.Commands;

/// <summary><c>worker --join HOST:PORT</c>.</summary>
internal static class WorkerCommand
{
    public static Command Create(CliContext context)
    {
        var command = new Command("worker", "Computes gradients for a coordinator, which gives it the job; the data must be on this machine too.");
        Option<int?> threads = JobOptions.Number("--threads", "N", "Threads that compute (default: as many as this machine has cores).");
        var cores = new Option<string?>("--cores") { HelpName = "LIST", Description = "The cores that the threads are pinned to, as in 0-3,6, or auto for those that this process may use (default: none)." };
        var withServer = new Option<bool>("--with-server") { Description = "Has a parameter server in this process too, which listens as --listen says." };
        MemberCommand.Fill(command, context, listens: true, threads, cores, context.Runners.Worker, withServer);
        return command;
    }
}
