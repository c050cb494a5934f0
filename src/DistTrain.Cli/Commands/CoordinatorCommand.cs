using System.CommandLine;
using DistTrain.Cli.Launching;
using DistTrain.Cli.Options;
using DistTrain.Cli.Progress;
using DistTrain.Core;
using DistTrain.Jobs;

namespace DistTrain.Cli.Commands;

/// <summary><c>coordinator JOB --listen HOST:PORT</c>: leads a job, here and on other machines.</summary>
internal static class CoordinatorCommand
{
    public static Command Create(CliContext context)
    {
        var command = new Command("coordinator", "Leads a job: waits for its servers and workers to join, shows progress, saves, evaluates.");
        var jobs = new JobOptions(command, required: false);
        var network = new NetworkArguments(command, joins: false, listens: true);
        Option<bool> resume = TrainCommand.ResumeOption();
        var recover = new Option<bool>("--recover") { Description = "Goes on with the cluster of a coordinator that ended: from where its servers are, or else from the newest checkpoint." };
        var child = new ChildOptions(command, announces: true);
        command.Add(recover);
        command.Add(resume);
        var records = new RecordOptions(command);
        command.SetAction(async (parsed, _) =>
        {
            records.Check(parsed);
            using Lifeline? lifeline = child.Lifeline(parsed);
            using StopSignals signals = lifeline is null ? StopSignals.Handle() : StopSignals.LeaveToLauncher(lifeline);
            Job job = jobs.Load(parsed);
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(lifeline?.Stop ?? signals.Stop);
            var options = new CoordinatorOptions
            {
                Network = network.Read(parsed, token: lifeline is null ? null : await lifeline.Token),
                Resume = parsed.GetValue(resume),
                Local = lifeline is not null,
                Follows = child.Follows(parsed) ?? (parsed.GetValue(recover) ? new CoordinatorLoss(0, DateTimeOffset.MinValue, "it ended") : null),
                Records = records.Read(parsed),
                Bound = address => child.Announce(parsed, address),
            };
            using var observer = ConsoleObserver.Create(context, showListening: lifeline is null);
            var deaths = new MemberDeaths(observer, stop);
            lifeline?.Attach(observer.Note, deaths.Add);
            TrainResult result = await context.Runners.Coordinate(job, options, observer, stop.Token);
            result = deaths.Judge(result, interrupted: lifeline is { Stop.IsCancellationRequested: true });
            observer.Finish(result, job, UsageHint.For(parsed, jobs, lifeline is not null));
            JsonFile.Write(records.Json(parsed), result);
            return result.ExitCode;
        });
        return command;
    }
}
