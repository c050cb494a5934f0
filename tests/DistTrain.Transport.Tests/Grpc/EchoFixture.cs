using System.Net;
using DistTrain.Transport.Grpc;

namespace DistTrain.Transport.Tests.Grpc;

/// <summary>A server with the test service and a channel to it.</summary>
public sealed class EchoFixture : IAsyncDisposable
{
    private EchoFixture(GrpcServer server, EchoService service, GrpcChannel channel) => (Server, Service, Channel) = (server, service, channel);

    public GrpcServer Server { get; }

    public EchoService Service { get; }

    public GrpcChannel Channel { get; }

    public static GrpcServerOptions Loopback { get; } = new() { Listen = [new(IPAddress.Loopback, 0)] };

    public static async Task<EchoFixture> StartAsync(GrpcServerOptions? options = null, GrpcChannelOptions? channelOptions = null, Action<GrpcServer>? register = null)
    {
        options ??= Loopback;
        var server = new GrpcServer(options);
        var service = new EchoService();
        service.AddTo(server);
        register?.Invoke(server);
        await server.StartAsync();
        string scheme = options.Tls is null ? "http" : "https";
        return new(server, service, new GrpcChannel($"{scheme}://{server.Endpoints[0]}", channelOptions));
    }

    public async ValueTask DisposeAsync()
    {
        Channel.Dispose();
        await Server.DisposeAsync();
    }
}
