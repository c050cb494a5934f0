using DistTrain.Core.Actors;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;
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

    public static MemberPart Worker(JobContext context, IChannel channel, ulong incarnation, int threads, CoreSet? cores, Action<string> log)
    {
        if (context.Job.Training.Memory is not null) log($"training.memory: {context.Memory()}");
        var worker = new Worker(context.WorkerSetup(threads, cores), channel, incarnation, context.Job.Cluster.FailureTimeout, log);
        return new MemberPart(
            context.Job.Hash, context.DataHash, worker, new ActorOptions(DedicatedThread: true), _ => { },
            worker.DisconnectAsync, worker.DisposeAsync);
    }

    public static MemberPart Server(JobContext context, ICoordinatorLink link, ICheckpointPort checkpoints, Action<ParameterServer> publish, Action<string> log)
    {
        var server = new ParameterServer(context.ServerSetup(), link, checkpoints, log);
        return new MemberPart(
            context.Job.Hash, "", server, new ActorOptions(ServerMailbox, DedicatedThread: true), self =>
            {
                server.Attach(self);
                publish(server);
            }, () => server.DisposeAsync().AsTask(), () => ValueTask.CompletedTask);
    }

    /// <summary>The job as a member reads it from the coordinator's offer.</summary>
    public static Job Parse(JobOffer offer) => JobReader.Parse(offer.Job, "the coordinator's job");
}
