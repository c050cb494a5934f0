using System.Net;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;

namespace DistTrain.Transport.Tests.Channels;

public sealed class GrpcTensorChannelTests : ChannelContract, IAsyncLifetime
{
    private readonly GrpcServer _host = new(new() { Listen = [new(IPAddress.Loopback, 0)], StatusOf = ServiceStatus.Of });
    private readonly List<GrpcChannel> _clients = [];
    private ServerAddress? _address;

    public GrpcTensorChannelTests()
    {
        Subject = new GrpcTensorChannel(endpoint =>
        {
            var client = new GrpcChannel(endpoint);
            lock (_clients) _clients.Add(client);
            return client;
        });
    }

    protected override IChannel Subject { get; }

    protected override ServerAddress Address => _address!;

    public async Task InitializeAsync()
    {
        ParameterServerService.Add(_host, Server);
        await _host.StartAsync();
        _address = new ServerAddress(0, new MemberId(7), $"http://{_host.Endpoints[0]}");
    }

    public async Task DisposeAsync()
    {
        foreach (GrpcChannel client in _clients) client.Dispose();
        await _host.DisposeAsync();
    }

    [Fact]
    public async Task Push_SegmentThatTheServerDrops_LetsTheNextThrough()
    {
        Server.Drops = header => header.Step % 2 == 0;
        IServerConnection connection = await ConnectAsync(new FakeSink(Length));
        var payloads = Enumerable.Range(0, 10).Select(i => Pinned.Random(100_000, i)).ToList();
        for (int i = 0; i < payloads.Count; i++) connection.Push(Segment(i), payloads[i].Span);

        for (int i = 1; i < payloads.Count; i += 2)
        {
            Received received = await Server.NextAsync();
            Assert.Equal(Segment(i), received.Header);
            Assert.Equal(Pinned.Bits(payloads[i].Values), received.Bits);
        }

        await CloseAsync(connection);
    }

    [Fact]
    public async Task Lost_ServerIsGone_CompletesWithACause()
    {
        IServerConnection connection = await ConnectAsync(new FakeSink(Length));

        await _host.StopAsync(TimeSpan.Zero);

        Assert.False(string.IsNullOrEmpty(await connection.Lost.WaitAsync(Patience.Long)));
        await CloseAsync(connection);
    }

    [Fact]
    public async Task Connect_NobodyListens_SaysWhichServer()
    {
        await _host.StopAsync(TimeSpan.Zero);

        DistTrainException error = await Assert.ThrowsAsync<DistTrainException>(() => ConnectAsync(new FakeSink(Length)));

        Assert.Contains($"server 7 at {Address.Endpoint}", error.Message, StringComparison.Ordinal);
        Assert.Equal(ExitCode.ClusterLost, error.ExitCode);
    }

    [Fact]
    public async Task Weights_OfAnotherLengthThanThePlace_LoseTheConnectionByName()
    {
        IServerConnection connection = await ConnectAsync(new FakeSink(Length));

        Server.Publish(1, new WeightsHeader(Term, 0, 3), new Pinned(Length + 1));

        string? cause = await connection.Lost.WaitAsync(Patience.Long);
        Assert.Contains("bucket 3", cause, StringComparison.Ordinal);
        await CloseAsync(connection);
    }
}
