using System.Net;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;
using DistTrain.Kernels;
using DistTrain.Training.ParameterServer;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;

namespace DistTrain.Composition;

/// <summary>The processes of workers and parameter servers: they join a coordinator over gRPC and stay until it stops them.</summary>
internal static class MemberRoles
{
    private static readonly TimeSpan RetryDelay = TimeSpan.FromMilliseconds(250);

    private static readonly TimeSpan LeavingTimeout = TimeSpan.FromSeconds(30);

    public static async Task<ExitCode> RunWorkerAsync(MemberOptions options, CancellationToken stop)
    {
        if (!options.WithServer) return await RunWorkerAloneAsync(options, null, stop);
        var own = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        Task<ExitCode> server = RunServerAsync(options, own.SetResult, stop);
        if (await Task.WhenAny(own.Task, server) == server) return await server;
        Task<ExitCode> worker = RunWorkerAloneAsync(options, await own.Task, stop);
        // What breaks one of them ends the process; a server that leaves has to hand over first.
        Task<ExitCode> first = await Task.WhenAny(server, worker);
        if (!stop.IsCancellationRequested) await first;
        ExitCode[] codes = await Task.WhenAll(server, worker);
        return codes.Max();
    }

    // The server of its own process is reached through memory, whatever lies between it and the others.
    private static async Task<ExitCode> RunWorkerAloneAsync(MemberOptions options, string? own, CancellationToken stop)
    {
        Action<string> log = options.Log ?? (_ => { });
        CoreSet? cores = WorkerCores.Of(options.Cores, options.Threads, "--cores");
        return await RunAsync(MemberRole.Worker, "", options, log, (offer, link, host) =>
        {
            var context = JobContext.Load(MemberParts.Parse(offer));
            var channel = new GrpcTensorChannel(endpoint => Network.Connect(endpoint, options.Network), server => context.SharesWithHost || (context.SharesMemory && server.Endpoint == own), context.Job.Cluster.Connections);
            return MemberParts.Worker(context, link, channel, host.Incarnation, options.Threads, cores, MemberParts.Recorder(offer), log);
        }, stop);
    }

    public static Task<ExitCode> RunServerAsync(MemberOptions options, CancellationToken stop) => RunServerAsync(options, _ => { }, stop);

    private static async Task<ExitCode> RunServerAsync(MemberOptions options, Action<string> bound, CancellationToken stop)
    {
        Action<string> log = options.Log ?? (_ => { });
        var port = new LatePort();
        await using var server = new GrpcServer(await Network.ServerOptionsAsync(options.Network));
        ParameterServerService.Add(server, port);
        await server.StartAsync(stop);
        string endpoint = Network.EndpointUrl(options.Network, server.Endpoints[0]);
        bound(endpoint);
        log($"listening on {server.Endpoints[0]}");
        using GrpcChannel checkpoints = Network.Connect(Network.CoordinatorUrl(options.Network), options.Network);
        return await RunAsync(MemberRole.Server, endpoint, options, log, (offer, link, host) =>
        {
            var context = JobContext.WithoutData(MemberParts.Parse(offer), offer.Data);
            var channel = new GrpcTensorChannel(endpoint => Network.Connect(endpoint, options.Network), context.SharesWithHost, context.Job.Cluster.Connections);
            return MemberParts.Server(context, link, new GrpcCheckpointPort(checkpoints), s => port.Server = s, MemberParts.Recorder(offer), log, channel, host.Incarnation, CopyAsync);
        }, stop);

        async Task CopyAsync(ServerAddress replica, IAsyncEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)> pieces, CancellationToken cancellation)
        {
            using GrpcChannel there = Network.Connect(replica.Endpoint, options.Network);
            await GrpcCheckpointPort.CopyAsync(there, pieces, cancellation);
        }
    }

    private static async Task<ExitCode> RunAsync(
        MemberRole role, string endpoint, MemberOptions options, Action<string> log,
        Func<JobOffer, ICoordinatorLink, MemberHost, MemberPart> build, CancellationToken stop)
    {
        using GrpcChannel coordinator = Network.Connect(Network.CoordinatorUrl(options.Network), options.Network);
        bool joined = false;
        while (true)
        {
            MemberHost? host = null;
            host = new MemberHost(role, (ulong)Random.Shared.NextInt64(), endpoint, (offer, link) => build(offer, link, host!) with { Link = Measure(coordinator, options, log, stop) }, log);
            using IDisposable quit = QuitSignal.On(() => _ = TellAsync(host));
            await using (host)
            {
                try
                {
                    if (await ServeAsync(role, coordinator, options, log, host, joined, stop) is { } exit) return exit;
                }
                catch (OperationCanceledException) when (stop.IsCancellationRequested)
                {
                    return ExitCode.Interrupted;
                }
            }

            joined = true;
            log("joining again, as a new member");
        }
    }

    // Always to the terminal, also where only errors are: somebody asked.
    private static async Task TellAsync(MemberHost host)
    {
        Explained explained = await host.ExplainAsync(0);
        string step = explained.Shards.Length == 0 ? "" : $" of step {explained.Step}: {string.Join(", ", explained.Shards)}, in buckets {string.Join(", ", explained.Buckets)}";
        await Console.Error.WriteLineAsync($"{host.Name}: {explained.Doing}{step}");
    }

    // Until the job is over for this member; null where its place was taken. While there is no coordinator, it holds what it has.
    private static async Task<ExitCode?> ServeAsync(MemberRole role, GrpcChannel coordinator, MemberOptions options, Action<string> log, MemberHost host, bool joined, CancellationToken stop)
    {
        string? lost = null;
        while (true)
        {
            await using GrpcCoordinatorLink link = await JoinAsync(coordinator, options, log, host, lost, stop);
            host.Begin(link);
            try
            {
                await Task.WhenAny(host.Ended, link.Closed).WaitAsync(stop);
            }
            catch (OperationCanceledException)
            {
                link.Send(new Leaving("it was interrupted"));
                if (role != MemberRole.Server || !host.IsIn) return ExitCode.Interrupted;
                log("leaving as soon as others have what this server holds; a second signal ends it at once");
                await Task.WhenAny(host.Ended, link.Closed, Task.Delay(LeavingTimeout, CancellationToken.None));
                return host.Ended.IsCompleted && await host.Ended is { } exit ? exit : ExitCode.Interrupted;
            }

            if (host.Ended.IsCompleted) return await host.Ended;
            lost = await link.Closed;
            // One that never was in has nothing to hold.
            if (!host.IsIn && !joined) throw new DistTrainException(ExitCode.ClusterLost, $"lost the coordinator: {lost}");
            log($"lost the coordinator: {lost}; looking for it for {options.Network.JoinTimeout.TotalSeconds:0} s");
            await Task.Delay(RetryDelay, stop);
        }
    }

    // Where a network lies between, or is made of. On a thread that may wait.
    private static LinkSpeed Measure(GrpcChannel coordinator, MemberOptions options, Action<string> log, CancellationToken stop)
    {
        if (Network.IsLoopback(options.Network)) return default;
        try
        {
            return LinkProbe.MeasureAsync(coordinator, stop).GetAwaiter().GetResult();
        }
        catch (GrpcException e)
        {
            log($"the link to the coordinator could not be measured: {e.Detail}");
            return default;
        }
    }

    // The coordinator may not be up yet: members can be started in any order.
    private static async Task<GrpcCoordinatorLink> JoinAsync(
        GrpcChannel coordinator, MemberOptions options, Action<string> log, MemberHost host, string? lost, CancellationToken stop)
    {
        long began = TimeProvider.System.GetTimestamp();
        string? said = null;
        while (true)
        {
            try
            {
                return await GrpcCoordinatorLink.ConnectAsync(coordinator, host.ReceiveAsync, stop);
            }
            catch (GrpcException e) when (e.Code is GrpcStatusCode.Unavailable or GrpcStatusCode.DeadlineExceeded)
            {
                TimeSpan waited = TimeProvider.System.GetElapsedTime(began);
                if (waited >= options.Network.JoinTimeout)
                {
                    string first = lost is null ? "" : $"lost the coordinator: {lost}; ";
                    throw new DistTrainException(ExitCode.ClusterLost, $"{first}waited {waited.TotalSeconds:0} s for the coordinator at {options.Network.Join}: {e.Detail}", e);
                }

                string message = $"waiting for the coordinator at {options.Network.Join}: {e.Detail}";
                if (message != said) log(said = message);
                await Task.Delay(RetryDelay, stop);
            }
            catch (GrpcException e)
            {
                ExitCode exit = e.Code == GrpcStatusCode.Unauthenticated ? ExitCode.BadUsage : ExitCode.ClusterLost;
                throw new DistTrainException(exit, $"the coordinator at {options.Network.Join} refuses the connection: {e.Status}", e);
            }
        }
    }

    /// <summary>The server's port before the job is known: it has nothing to offer yet.</summary>
    private sealed class LatePort : IParameterServerPort
    {
        private volatile ParameterServer? _server;

        public ParameterServer? Server
        {
            set => _server = value;
        }

        public ISegmentBuffer? BeginSegment(in SegmentHeader header, int length) => _server?.BeginSegment(header, length);

        public ICheckpointKeeper? Copies => _server?.Copies;

        public bool Wants(in SegmentHeader header, int length) => _server?.Wants(header, length) ?? false;

        public ValueTask CompleteSegmentAsync(SegmentHeader header, ISegmentBuffer? buffer, CancellationToken cancellation) =>
            _server?.CompleteSegmentAsync(header, buffer, cancellation) ?? ValueTask.CompletedTask;

        public IWeightsSubscription Subscribe(long term, ulong incarnation, bool inline = false, Lane lane = default) =>
            _server?.Subscribe(term, incarnation, inline, lane) ?? throw new DistTrainException(ExitCode.ClusterLost, "this server has joined no job yet");
    }
}
