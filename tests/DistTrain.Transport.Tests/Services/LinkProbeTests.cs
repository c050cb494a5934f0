using System.Net;
using DistTrain.Core;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.Tests.Services;

public sealed class LinkProbeTests : IAsyncLifetime
{
    private readonly GrpcServer _server = new(new() { Listen = [new(IPAddress.Loopback, 0)] });
    private GrpcChannel? _channel;

    public async Task InitializeAsync()
    {
        LinkProbe.Add(_server);
        await _server.StartAsync();
        _channel = new GrpcChannel($"http://{_server.Endpoints[0]}");
    }

    public async Task DisposeAsync()
    {
        _channel!.Dispose();
        await _server.DisposeAsync();
    }

    [Fact]
    public async Task Link_IsMeasured()
    {
        LinkSpeed speed = await LinkProbe.MeasureAsync(_channel!, CancellationToken.None);
        Assert.True(speed.IsKnown);
        Assert.True(speed.Latency < 10);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(LinkProbe.MostBytes + 1)]
    [InlineData(int.MaxValue)]
    public async Task Reply_OfTooManyBytes_IsRefused(int bytes)
    {
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => _channel!.UnaryAsync(ServiceMethods.Probe, new Wire.ProbeRequest { ReplyBytes = bytes }));
        Assert.Equal(GrpcStatusCode.InvalidArgument, e.Code);
    }

    [Fact]
    public void WorseOfTwo_IsWorseInBoth_AndKnown()
    {
        Assert.Equal(new LinkSpeed(3, 5), LinkSpeed.Worse(new(3, 10), new(1, 5)));
        Assert.Equal(new LinkSpeed(3, 10), LinkSpeed.Worse(default, new(3, 10)));
        Assert.Equal(new LinkSpeed(3, 10), LinkSpeed.Worse(new(3, 10), default));
    }
}
