using DistTrain.Jobs;
using DistTrain.Training.Coordinator;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;

namespace DistTrain.Composition;

/// <summary>A coordinator's process: the coordinator's host behind a gRPC server.</summary>
internal static class CoordinatorRole
{
    public static async Task<TrainResult> RunAsync(Job job, CoordinatorOptions options, ITrainingObserver observer, CancellationToken stop)
    {
        GrpcServerOptions serverOptions = await Network.ServerOptionsAsync(options.Network);
        JobContext context = JobContext.Load(job);
        if (options.Local) context.RequireMemory();
        RunFiles files = RunFiles.Open(context, options.Resume, save: true, observer, options.Follows?.Since);
        TrainingPlan plan = context.Plan(job.ToYaml(), files.FirstVersion, options.Network.JoinTimeout) with { Evaluations = files.Evaluations, Trace = TraceFile.Recorder(options.Records.Trace), Recovers = options.Follows is not null };
        var metrics = new RunMetrics(context, files.FirstVersion, files.ResumedFrom, channel: null, observer, TimeProvider.System) { Audit = options.Records.Audit is { } audit ? AuditFile.Open(context, audit, options.Follows is null ? files.FirstVersion : long.MaxValue, observer.Warn) : null };
        if (options.Follows is { } loss) metrics.Succeeds(loss);
        await using var host = new CoordinatorHost(context, plan, files, metrics, observer, TimeProvider.System) { Trace = options.Records.Trace };
        await using var server = new GrpcServer(serverOptions);
        CoordinatorService.Add(server, host.Port, host.Keeper);
        await server.StartAsync(CancellationToken.None);
        string address = server.Endpoints[0].ToString();
        observer.Listening(address);
        options.Bound?.Invoke(address);
        return await host.RunAsync(stop);
    }
}
