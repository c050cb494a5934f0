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
        Option<string?> json = CommandTree.JsonOption();
        var child = new ChildOptions(command, announces: true);
        command.Add(resume);
        command.Add(json);
        command.SetAction(async (parsed, _) =>
        {
            string? jsonFile = parsed.GetValue(json);
            JsonFile.CheckPlace(jsonFile);
            using Lifeline? lifeline = child.Lifeline(parsed);
            using StopSignals signals = lifeline is null ? StopSignals.Handle() : StopSignals.LeaveToLauncher(lifeline);
            Job job = jobs.Load(parsed);
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(lifeline?.Stop ?? signals.Stop);
            var options = new CoordinatorOptions
            {
                Network = network.Read(parsed, token: lifeline is null ? null : await lifeline.Token),
                Resume = parsed.GetValue(resume),
                Bound = address => child.Announce(parsed, address),
            };
            using var observer = ConsoleObserver.Create(context, showListening: lifeline is null);
            var losses = new EarlyLosses(observer, stop);
            lifeline?.Attach(observer.Note, losses.Add);
            TrainResult result = await context.Runners.Coordinate(job, options, observer, stop.Token);
            result = losses.Judge(result);
            observer.Finish(result, job, UsageHint.For(parsed, jobs, lifeline is not null));
            JsonFile.Write(jsonFile, result);
            return result.ExitCode;
        });
        return command;
    }

    /// <summary>
    /// Processes of a local run that ended before it began: they will not come, so there is nothing to wait for. Later
    /// ones are the cluster's business.
    /// </summary>
    private sealed class EarlyLosses(ConsoleObserver observer, CancellationTokenSource stop)
    {
        private readonly Lock _gate = new();
        private (int Code, string Text)? _first;

        public void Add(int code, string text)
        {
            lock (_gate)
            {
                // What follows the first loss before the beginning is only its consequence.
                if (_first is not null) return;
                if (!observer.HasStarted) _first = (code, text);
            }

            observer.Trouble(text);
            if (observer.HasStarted) return;
            try
            {
                stop.Cancel();
            }
            catch (ObjectDisposedException)
            {
                // The run is over.
            }
        }

        public TrainResult Judge(TrainResult result)
        {
            lock (_gate)
            {
                if (_first is not { } first || observer.HasStarted || result.ExitCode is not (int)ExitCode.Interrupted) return result;
                bool known = first.Code is (int)ExitCode.BadUsage or (int)ExitCode.BadData;
                return result with { ExitCode = known ? first.Code : (int)ExitCode.ClusterLost, Error = $"{first.Text}, before training began" };
            }
        }
    }
}
