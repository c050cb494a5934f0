using System.Net;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;

namespace DistTrain.Transport.Tests.Channels;

/// <summary>Over the socket alone.</summary>
public sealed class GrpcTensorChannelTests() : GrpcTensorChannelContract(shares: false);

/// <summary>Over several sockets.</summary>
public sealed class LanedChannelTests() : GrpcTensorChannelContract(shares: false, lanes: 3)
{
    protected override bool KeepsOrder => false;

    [Fact]
    public async Task Connect_SeveralLanes_TakesAConnectionForEach()
    {
        IServerConnection connection = await ConnectAsync(new FakeSink(Length));

        Assert.Equal(3, Clients);
        Assert.Equal(3, Server.Lanes);
        await CloseAsync(connection);
        for (int lane = 0; lane < 3; lane++) await Server.UnsubscribedAsync(1, lane);
    }

    [Fact]
    public async Task Push_FirstLaneHeldUp_OtherBucketsPass()
    {
        var gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Server.BeforeTaking = (header, _) => header.Bucket == 0 ? gate.Task : Task.CompletedTask;
        IServerConnection connection = await ConnectAsync(new FakeSink(Length));

        for (int bucket = 0; bucket < 3; bucket++) connection.Push(Segment(1, bucket), Pinned.Random(Length, bucket).Span);

        int[] passed = [(await Server.NextAsync()).Header.Bucket, (await Server.NextAsync()).Header.Bucket];
        Assert.Equal([1, 2], passed.Order());
        gate.SetResult();
        Assert.Equal(0, (await Server.NextAsync()).Header.Bucket);
        await CloseAsync(connection);
    }
}

/// <summary>With payloads that need no connections of their own.</summary>
public sealed class LanedSharedMemoryChannelTests() : GrpcTensorChannelContract(shares: true, lanes: 3)
{
    [Fact]
    public async Task Connect_SharedMemory_TakesOneConnection()
    {
        IServerConnection connection = await ConnectAsync(new FakeSink(Length));

        Assert.Equal(1, Clients);
        Assert.Equal(1, Server.Lanes);
        await CloseAsync(connection);
    }
}

/// <summary>With payloads that stay where they are, in memory that both sides map.</summary>
public sealed class SharedMemoryChannelTests() : GrpcTensorChannelContract(shares: true)
{
    [Fact]
    public async Task Push_SharedSegments_AreReadInPlace()
    {
        Assert.Equal("shared-memory", Subject.Name);
        var first = new FakeSink(Length);
        IServerConnection connection = await ConnectAsync(first);
        Server.Publish(1, new WeightsHeader(Term, 0, 0), Pinned.Random(Length, 1));
        await first.NextAsync();
        var gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var begun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Server.BeforeTaking = async (_, _) =>
        {
            begun.TrySetResult();
            await gate.Task;
        };
        Pinned payload = Pinned.Random(Length, 2, shared: true);
        connection.Push(Segment(0), payload.Span);
        await begun.Task.WaitAsync(Patience.Long);
        // What is written now arrives, because nothing was copied.
        payload.Values[7] = 42;
        gate.SetResult();
        Assert.Equal(42, BitConverter.Int32BitsToSingle((await Server.NextAsync()).Bits[7]));
        await CloseAsync(connection);
    }
}

public abstract class GrpcTensorChannelContract : ChannelContract, IAsyncLifetime
{
    private readonly GrpcServer _host = new(new() { Listen = [new(IPAddress.Loopback, 0)], StatusOf = ServiceStatus.Of });
    private readonly List<GrpcChannel> _clients = [];
    private ServerAddress? _address;

    protected GrpcTensorChannelContract(bool shares, int lanes = 1)
        : base(shares)
    {
        Subject = new GrpcTensorChannel(endpoint =>
        {
            var client = new GrpcChannel(endpoint);
            lock (_clients) _clients.Add(client);
            return client;
        }, shares, lanes);
    }

    protected override IChannel Subject { get; }

    /// <summary>Connections made so far.</summary>
    protected int Clients
    {
        get
        {
            lock (_clients) return _clients.Count;
        }
    }

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
