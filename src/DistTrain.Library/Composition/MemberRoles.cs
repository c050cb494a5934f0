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

    public static async Task<ExitCode> RunWorkerAsync(MemberOptions options, CancellationToken stop)
    {
        if (!options.WithServer) return await RunWorkerAloneAsync(options, stop);
        Task<ExitCode> server = RunServerAsync(options, stop), worker = RunWorkerAloneAsync(options, stop);
        // What breaks one of them ends the process.
        await await Task.WhenAny(server, worker);
        ExitCode[] codes = await Task.WhenAll(server, worker);
        return codes.Max();
    }

    private static async Task<ExitCode> RunWorkerAloneAsync(MemberOptions options, CancellationToken stop)
    {
        Action<string> log = options.Log ?? (_ => { });
        CoreSet? cores = WorkerCores.Of(options.Cores, options.Threads, "--cores");
        return await RunAsync(MemberRole.Worker, "", options, log, (offer, _, host) =>
        {
            var context = JobContext.Load(MemberParts.Parse(offer));
            var channel = new GrpcTensorChannel(endpoint => Network.Connect(endpoint, options.Network), context.SharesMemory);
            return MemberParts.Worker(context, channel, host.Incarnation, options.Threads, cores, MemberParts.Recorder(offer), log);
        }, stop);
    }

    public static async Task<ExitCode> RunServerAsync(MemberOptions options, CancellationToken stop)
    {
        Action<string> log = options.Log ?? (_ => { });
        var port = new LatePort();
        await using var server = new GrpcServer(await Network.ServerOptionsAsync(options.Network));
        ParameterServerService.Add(server, port);
        await server.StartAsync(stop);
        IPEndPoint bound = server.Endpoints[0];
        log($"listening on {bound}");
        using GrpcChannel checkpoints = Network.Connect(Network.CoordinatorUrl(options.Network), options.Network);
        return await RunAsync(MemberRole.Server, Network.EndpointUrl(options.Network, bound), options, log, (offer, link, _) =>
        {
            var context = JobContext.WithoutData(MemberParts.Parse(offer), offer.Data);
            return MemberParts.Server(context, link, new GrpcCheckpointPort(checkpoints), s => port.Server = s, MemberParts.Recorder(offer), log);
        }, stop);
    }

    private static async Task<ExitCode> RunAsync(
        MemberRole role, string endpoint, MemberOptions options, Action<string> log,
        Func<JobOffer, ICoordinatorLink, MemberHost, MemberPart> build, CancellationToken stop)
    {
        using GrpcChannel coordinator = Network.Connect(Network.CoordinatorUrl(options.Network), options.Network);
        MemberHost? host = null;
        host = new MemberHost(role, (ulong)Random.Shared.NextInt64(), endpoint, (offer, link) => build(offer, link, host!) with { Link = Measure(coordinator, options, log, stop) }, log);
        await using (host)
        {
            await using GrpcCoordinatorLink link = await JoinAsync(coordinator, options, log, host, stop);
            host.Begin(link);
            _ = LoseAsync(link, host);
            try
            {
                return await host.Ended.WaitAsync(stop);
            }
            catch (OperationCanceledException)
            {
                link.Send(new Leaving("it was interrupted"));
                throw;
            }
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
        GrpcChannel coordinator, MemberOptions options, Action<string> log, MemberHost host, CancellationToken stop)
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
                    throw new DistTrainException(ExitCode.ClusterLost, $"waited {waited.TotalSeconds:0} s for the coordinator at {options.Network.Join}: {e.Detail}", e);
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

    private static async Task LoseAsync(GrpcCoordinatorLink link, MemberHost host) => host.LinkLost(await link.Closed);

    /// <summary>The server's port before the job is known: it has nothing to offer yet.</summary>
    private sealed class LatePort : IParameterServerPort
    {
        private volatile ParameterServer? _server;

        public ParameterServer? Server
        {
            set => _server = value;
        }

        public ISegmentBuffer? BeginSegment(in SegmentHeader header, int length) => _server?.BeginSegment(header, length);

        public bool Wants(in SegmentHeader header, int length) => _server?.Wants(header, length) ?? false;

        public ValueTask CompleteSegmentAsync(SegmentHeader header, ISegmentBuffer? buffer, CancellationToken cancellation) =>
            _server?.CompleteSegmentAsync(header, buffer, cancellation) ?? ValueTask.CompletedTask;

        public IWeightsSubscription Subscribe(long term, ulong incarnation, bool inline = false) =>
            _server?.Subscribe(term, incarnation, inline) ?? throw new DistTrainException(ExitCode.ClusterLost, "this server has joined no job yet");
    }
}
