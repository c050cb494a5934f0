using System.Collections.Concurrent;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;
using DistTrain.Jobs;
using DistTrain.Kernels;
using DistTrain.Training.Checkpoints;
using DistTrain.Training.ParameterServer;
using DistTrain.Transport.InProcess;

namespace DistTrain.Composition;

/// <summary>A whole cluster in this process: coordinator, servers and workers as actors, over the in-process channel.</summary>
internal sealed class InProcessRun(Job job, bool resume, bool save, ITrainingObserver observer, RunRecords? records = null) : IAsyncDisposable
{
    private readonly ConcurrentDictionary<string, ParameterServer> _servers = new(StringComparer.Ordinal);
    private readonly List<(MemberHost Host, InProcessLink Link)> _members = [];
    private CoordinatorHost? _coordinator;

    /// <summary>The job put together.</summary>
    public JobContext Context { get; } = JobContext.Load(job);

    /// <summary>The weights at the end; null when the job ended before there were any.</summary>
    public ModelSnapshot? Model => _coordinator?.Final;

    public async Task<TrainResult> RunAsync(CancellationToken stop)
    {
        if (job.Cluster.Replicas > 0) throw new DistTrainException(ExitCode.BadUsage, "cluster.replicas needs processes: a second copy never shares one with the first");
        Context.RequireMemory();
        IReadOnlyList<CoreSet>? cores = WorkerCores.Share(job.Cluster);
        RunFiles files = RunFiles.Open(Context, resume, save, observer);
        var plan = Context.Plan("", files.FirstVersion, TimeSpan.FromMinutes(1)) with { Evaluations = files.Evaluations, Trace = TraceFile.Recorder(records?.Trace) };
        var metrics = new RunMetrics(Context, files.FirstVersion, files.ResumedFrom, "in-process", observer, TimeProvider.System) { Audit = records?.Audit is { } audit ? AuditFile.Open(Context, audit, files.FirstVersion, observer.Warn) : null };
        _coordinator = new CoordinatorHost(Context, plan, files, metrics, observer, TimeProvider.System) { Trace = records?.Trace };
        var channel = new InProcessChannel(address => _servers[address.Endpoint]);
        for (int i = 0; i < job.Cluster.Servers; i++) AddServer($"in-process:{i}");
        for (int i = 0; i < job.Cluster.Workers; i++) AddWorker(channel, cores?[i]);
        Task<TrainResult> result = _coordinator.RunAsync(stop);
        // A member that breaks ends the run with its own error, which says more than its absence.
        Task broken = FirstFailureAsync();
        await Task.WhenAny(result, broken);
        if (broken.IsFaulted) await broken;
        return await result;
    }

    public async ValueTask DisposeAsync()
    {
        // Workers stop first, then the servers that were lent their memory; only then is it freed.
        foreach ((MemberHost host, _) in Enumerable.Reverse(_members)) await host.StopAsync();
        foreach ((MemberHost host, InProcessLink link) in _members)
        {
            await link.DisposeAsync();
            await host.DisposeAsync();
        }

        if (_coordinator is not null) await _coordinator.DisposeAsync();
    }

    private void AddServer(string endpoint) => Add(MemberRole.Server, endpoint, (_, offer, link) =>
        MemberParts.Server(Context, link, _coordinator!.Keeper, server => _servers[endpoint] = server, MemberParts.Recorder(offer), observer.Warn));

    private void AddWorker(IChannel channel, CoreSet? cores) => Add(MemberRole.Worker, "", (host, offer, link) =>
        MemberParts.Worker(Context, link, channel, host.Incarnation, job.Cluster.Threads, cores, MemberParts.Recorder(offer), observer.Warn));

    private void Add(MemberRole role, string endpoint, Func<MemberHost, JobOffer, ICoordinatorLink, MemberPart> build)
    {
        MemberHost? host = null;
        host = new MemberHost(role, (ulong)Random.Shared.NextInt64(), endpoint, (offer, link) => build(host!, offer, link), _ => { });
        InProcessLink link = InProcessLink.Connect(_coordinator!.Port, host.ReceiveAsync);
        _members.Add((host, link));
        host.Begin(link);
    }

    private async Task FirstFailureAsync()
    {
        List<Task> members = [.. _members.Select(m => m.Host.Ended)];
        while (members.Count > 0)
        {
            Task ended = await Task.WhenAny(members);
            await ended;
            members.Remove(ended);
        }
    }
}
