using DistTrain.Core.Actors;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;
using DistTrain.Core.Tracing;
using DistTrain.Jobs;
using DistTrain.Kernels;
using DistTrain.Training.ParameterServer;
using DistTrain.Training.Worker;

namespace DistTrain.Composition;

/// <summary>Builds what members become.</summary>
internal static class MemberParts
{
    // Segments that wait at a server are whole buckets: few, so that a slow server pushes back.
    private const int ServerMailbox = 256;

    public static MemberPart Worker(JobContext context, ICoordinatorLink link, IChannel channel, ulong incarnation, int threads, CoreSet? cores, TraceRecorder? trace, Action<string> log)
    {
        if (context.Job.Training.Memory is not null) log($"training.memory: {context.Memory()}");
        var worker = new Worker(context.WorkerSetup(threads, cores) with { Trace = trace, Faults = Faults.Parse(Environment.GetEnvironmentVariable(Faults.Variable)) }, channel, incarnation, context.Job.Cluster.FailureTimeout, link.Send, log);
        return new MemberPart(
            context.Job.Hash, context.DataHash, worker, new ActorOptions(DedicatedThread: true) { OnLentThreads = context.Job.Cluster.Consistency.IsSync }, _ => { },
            worker.DisconnectAsync, worker.DisposeAsync)
        { Trace = trace };
    }

    public static MemberPart Server(
        JobContext context, ICoordinatorLink link, ICheckpointPort checkpoints, Action<ParameterServer> publish, TraceRecorder? trace, Action<string> log, IChannel? channel = null, ulong incarnation = 0,
        Func<ServerAddress, IAsyncEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)>, CancellationToken, Task>? sendCopy = null)
    {
        var server = new ParameterServer(context.ServerSetup() with { Trace = trace }, link, checkpoints, log, channel, incarnation) { SendCopy = sendCopy, Patience = context.Job.Cluster.FailureTimeout };
        return new MemberPart(
            context.Job.Hash, "", server, new ActorOptions(ServerMailbox, DedicatedThread: true) { OnLentThreads = true }, self =>
            {
                server.Attach(self);
                publish(server);
            }, () => server.DisposeAsync().AsTask(), () => ValueTask.CompletedTask)
        { Trace = trace };
    }

    /// <summary>What a member that was offered a job records in; null where no trace is asked for.</summary>
    public static TraceRecorder? Recorder(JobOffer offer) => offer.TraceEvents > 0 ? new TraceRecorder(Math.Min(offer.TraceEvents, TraceRecorder.MostCapacity)) : null;

    /// <summary>The job as a member reads it from the coordinator's offer.</summary>
    public static Job Parse(JobOffer offer) => JobReader.Parse(offer.Job, "the coordinator's job");
}
