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
        MemberCommand.Fill(command, context, listens: false, threads, context.Runners.Worker);
        return command;
    }
}
