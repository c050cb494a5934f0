using System.CommandLine;
using DistTrain.Cli.Launching;
using DistTrain.Cli.Options;
using DistTrain.Cli.Progress;
using DistTrain.Composition;
using DistTrain.Core;
using DistTrain.Jobs;

namespace DistTrain.Cli.Commands;

/// <summary><c>train [JOB]</c>: a whole cluster on this machine, as processes or within this one.</summary>
internal static class TrainCommand
{
    public static Command Create(CliContext context)
    {
        var command = new Command("train", "Trains a job on this machine: a coordinator, parameter servers and workers as processes of their own.");
        var jobs = new JobOptions(command, required: false);
        Option<int?> threads = JobOptions.Number("--threads", "N", "Threads that compute in each worker; short for --set cluster.threads=N.");
        var cores = new Option<string?>("--cores") { HelpName = "LIST", Description = "The cores that the workers' threads are pinned to, as in 0-3,6, or auto; short for --set cluster.cores=LIST." };
        var channel = new Option<string?>("--channel") { HelpName = "NAME", Description = "How tensors move: auto (shared memory within a host) or grpc; short for --set cluster.channel=NAME." };
        var inProcess = new Option<bool>("--in-process") { Description = "Runs everything within one process." };
        Option<bool> resume = ResumeOption();
        var engine = new Option<string>("--engine") { HelpName = "NAME", Description = "What hosts the actors; this build has 'builtin'.", DefaultValueFactory = _ => "builtin" };
        command.Add(threads);
        command.Add(cores);
        command.Add(channel);
        command.Add(inProcess);
        command.Add(resume);
        command.Add(engine);
        var records = new RecordOptions(command);
        command.SetAction(async (parsed, _) =>
        {
            records.Check(parsed);
            CheckEngine(parsed.GetValue(engine)!);
            List<string> overrides = jobs.Overrides(parsed);
            if (parsed.GetValue(threads) is { } n) overrides.Add($"cluster.threads={n}");
            if (parsed.GetValue(cores) is { } list) overrides.Add($"cluster.cores={list}");
            if (parsed.GetValue(channel) is { } name) overrides.Add($"cluster.channel={name}");
            Job job = JobReader.Load(parsed.GetValue(jobs.Path), overrides);
            if (job.Cluster.Replicas > 0 && parsed.GetValue(inProcess)) throw new DistTrainException(ExitCode.BadUsage, "--in-process: cluster.replicas needs processes, because a second copy never shares one with the first");
            return parsed.GetValue(inProcess)
                ? await TrainHereAsync(context, job, parsed.GetValue(resume), records.Read(parsed), records.Json(parsed), UsageHint.For(parsed, jobs, local: true))
                : await LaunchAsync(context, job, CoordinatorArguments(parsed.GetValue(jobs.Path), overrides, parsed.GetValue(resume), records.Arguments(parsed)), records.Json(parsed));
        });
        return command;
    }

    public static Option<bool> ResumeOption() => new("--resume") { Description = "Goes on from the job's newest checkpoint, to the same bits as a run that never stopped." };

    private static void CheckEngine(string engine)
    {
        switch (engine)
        {
            case "builtin":
                return;
            case "akka":
                throw new DistTrainException(ExitCode.BadUsage, "this build has no Akka.NET engine: build with -p:Akka=true");
            default:
                throw new DistTrainException(ExitCode.BadUsage, $"--engine {engine}: unknown engine{NearestName.Hint(engine, ["builtin", "akka"])}");
        }
    }

    private static List<string> CoordinatorArguments(string? job, List<string> overrides, bool resume, List<string> records)
    {
        List<string> arguments = ["coordinator"];
        if (job is not null) arguments.Add(job);
        foreach (string change in overrides) arguments.AddRange(["--set", change]);
        if (resume) arguments.Add("--resume");
        arguments.AddRange(records);
        return arguments;
    }

    private static async Task<int> TrainHereAsync(CliContext context, Job job, bool resume, RunRecords records, string? json, UsageHint hint)
    {
        using StopSignals signals = StopSignals.Handle();
        using var observer = ConsoleObserver.Create(context, showListening: false);
        TrainResult result = await context.Runners.InProcess(job, resume, observer, signals.Stop, records);
        observer.Finish(result, job, hint);
        JsonFile.Write(json, result);
        return result.ExitCode;
    }

    private static async Task<int> LaunchAsync(CliContext context, Job job, List<string> arguments, string? json)
    {
        using var kill = new CancellationTokenSource();
        using StopSignals signals = StopSignals.Handle(second: kill.Cancel);
        var plan = new LaunchPlan(arguments, job.Cluster.MostWorkers ?? job.Cluster.Workers, job.Cluster.Servers * (1 + job.Cluster.Replicas), job.Cluster.Threads, WorkerCores.Share(job.Cluster)?.Select(c => c.ToString()).ToList()) { Colocated = job.Cluster.Colocated, Restarts = job.Cluster.Restarts };
        LaunchResult result = await new LocalLauncher(context.Executable, plan, context.Time).RunAsync(signals.Stop, kill.Token);
        if (result.Error is null) return result.ExitCode;
        context.Error.WriteLine($"disttrain: {result.Error}");
        JsonFile.Write(json, new TrainResult { Name = job.Name, ExitCode = result.ExitCode, Error = result.Error });
        return result.ExitCode;
    }
}
