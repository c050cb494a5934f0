using System.Net;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;
using Google.Protobuf;

namespace DistTrain.Interop.Tests;

/// <summary>One server process for all the tests of a class.</summary>
public abstract class ServerPeer : IDisposable
{
    protected ServerPeer() => (Process, Ports) = Started();

    internal TestCertificates Files { get; } = new();

    public PeerProcess Process { get; }

    /// <summary>Plain; plain with gzip and a limit of 1 MiB; mutual TLS.</summary>
    public string[] Ports { get; }

    /// <summary>Whether the peer compresses its responses; @grpc/grpc-js only inflates requests.</summary>
    public abstract bool Compresses { get; }

    public (PeerProcess Process, string[] Ports) Started()
    {
        PeerProcess process = Start(Files.Authority, Files.ServerCertificate, Files.ServerKey);
        return (process, process.Read().Split(' ')[1..]);
    }

    public void Dispose()
    {
        Process.Dispose();
        Files.Dispose();
        GC.SuppressFinalize(this);
    }

    protected abstract PeerProcess Start(params string[] files);
}

public sealed class PythonServer : ServerPeer
{
    public override bool Compresses => true;

    protected override PeerProcess Start(params string[] files) => PeerProcess.Python("echo_server.py", files);
}

public sealed class NodeServer : ServerPeer
{
    public override bool Compresses => false;

    protected override PeerProcess Start(params string[] files) => PeerProcess.Node("echo_server.js", files);
}

/// <summary>What our client must be able to do with every stock server.</summary>
public abstract class PeerAsServer<TPeer>(TPeer peer) : IClassFixture<TPeer>
    where TPeer : ServerPeer
{
    private const int Plain = 0, Limited = 1, Tls = 2;

    private GrpcChannel Channel(int port = Plain, GrpcChannelOptions? options = null) =>
        new($"{(port == Tls ? "https" : "http")}://127.0.0.1:{peer.Ports[port]}", options);

    [Fact]
    public async Task Unary_ComesBack()
    {
        using GrpcChannel channel = Channel();
        Item item = new() { Text = "grüß dich", Number = -7 };
        Assert.Equal(item, await channel.UnaryAsync(EchoMethods.Say, item));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1000)]
    public async Task ServerStreaming_GivesAllItems(int count)
    {
        using GrpcChannel channel = Channel();
        using var call = channel.Send(EchoMethods.Count, new Item { Number = count });
        var numbers = new List<int>();
        await foreach (Item item in call.Responses.ReadAllAsync()) numbers.Add(item.Number);
        Assert.Equal(Enumerable.Range(0, count), numbers);
    }

    [Fact]
    public async Task ClientStreaming_IsSummed()
    {
        using GrpcChannel channel = Channel();
        using var call = channel.Open(EchoMethods.Sum);
        for (int i = 0; i < 100; i++) await call.Requests.WriteAsync(new Item { Number = i, Text = "x" });
        Item sum = await call.FinishAsync();
        Assert.Equal((4950, 100), (sum.Number, sum.Text.Length));
    }

    [Fact]
    public async Task Duplex_ComesBackOneByOne()
    {
        using GrpcChannel channel = Channel();
        using var call = channel.Open(EchoMethods.Chat);
        await call.GetHeadersAsync();
        for (int i = 0; i < 50; i++)
        {
            await call.Requests.WriteAsync(new Item { Number = i });
            Assert.Equal(i, (await call.Responses.ReadAsync())!.Number);
        }

        call.CompleteRequests();
        Assert.Null(await call.Responses.ReadAsync());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public async Task Statuses_HaveCodeMessageAndTrailers(int items)
    {
        const string Detail = "100 % kaputt: größer 😀\nzwei";
        using GrpcChannel channel = Channel();
        foreach (GrpcStatusCode code in Enum.GetValues<GrpcStatusCode>().Where(c => c != GrpcStatusCode.Ok))
        {
            using var call = channel.Send(EchoMethods.Fail, new Item { Number = (int)code, Text = Detail, Data = ByteString.CopyFrom(new byte[items]) });
            for (int i = 0; i < items; i++) Assert.Equal(i, (await call.Responses.ReadAsync())!.Number);
            GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => call.Responses.ReadAsync().AsTask());
            Assert.Equal((code, Detail), (e.Code, e.Detail));
            Assert.Equal("asked for", e.Trailers.Get("x-why"));
            Assert.Equal([0, 255, 128], e.Trailers.GetBytes("x-why-bin")!);
        }
    }

    [Fact]
    public async Task Metadata_ComesAsItWent()
    {
        using GrpcChannel channel = Channel();
        byte[] bytes = [0, 1, 127, 128, 255];
        using var call = channel.Send(EchoMethods.Say, new Item(), new() { Metadata = new GrpcMetadata().Add("x-echo", "one, two").Add("x-echo-bin", bytes) });
        GrpcMetadata headers = await call.GetHeadersAsync();
        Assert.NotNull(await call.Responses.ReadAsync());
        Assert.Equal(("one, two", "one, two"), (headers.Get("x-head"), call.Trailers.Get("x-trail")));
        Assert.Equal(bytes, headers.GetBytes("x-head-bin")!);
        Assert.Equal(bytes, call.Trailers.GetBytes("x-trail-bin")!);
    }

    [Fact]
    public async Task Deadline_EndsTheCallOnBothSides()
    {
        using GrpcChannel channel = Channel();
        int before = await CancelledAsync(channel);
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(
            () => channel.Send(EchoMethods.Hang, new Item(), new() { Timeout = TimeSpan.FromMilliseconds(200) }).Responses.ReadAsync().AsTask());
        Assert.Equal(GrpcStatusCode.DeadlineExceeded, e.Code);
        await CancelledBeyondAsync(channel, before);
    }

    [Fact]
    public async Task Cancel_EndsTheCallOnBothSides()
    {
        using GrpcChannel channel = Channel();
        int before = await CancelledAsync(channel);
        using var call = channel.Send(EchoMethods.Hang, new Item { Text = "headers" });
        await call.GetHeadersAsync();
        call.Cancel();
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => call.Responses.ReadAsync().AsTask());
        Assert.Equal(GrpcStatusCode.Cancelled, e.Code);
        await CancelledBeyondAsync(channel, before);
    }

    [Fact]
    public async Task Gzip_BothWays_IsUnderstood()
    {
        using GrpcChannel channel = Channel(Limited);
        Item item = new() { Text = new string('a', 100_000) };
        Assert.Equal(item, await channel.UnaryAsync(EchoMethods.Say, item, new() { Compress = true }));
        Assert.Equal(item, await channel.UnaryAsync(EchoMethods.Say, item));
        Assert.Equal(peer.Compresses ? 1 : 0, await FirstByteOfResponseAsync(item));
    }

    [Fact]
    public async Task LargeMessage_ComesBackWhole()
    {
        using GrpcChannel channel = Channel();
        Item item = new() { Data = UnsafeByteOperations.UnsafeWrap(SinkRecord.Pattern(64 << 20)) };
        Assert.Equal(item, await channel.UnaryAsync(EchoMethods.Say, item));
    }

    [Fact]
    public async Task Request_OverTheServersLimit_IsResourceExhausted()
    {
        using GrpcChannel channel = Channel(Limited);
        Item large = new() { Data = ByteString.CopyFrom(new byte[2 << 20]) };
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => channel.UnaryAsync(EchoMethods.Say, large));
        Assert.Equal(GrpcStatusCode.ResourceExhausted, e.Code);
        Assert.Equal(1, (await channel.UnaryAsync(EchoMethods.Say, new Item { Number = 1 })).Number);
    }

    [Fact]
    public async Task Response_OverOurLimit_IsResourceExhausted()
    {
        using GrpcChannel channel = Channel(options: new() { MaxReceiveMessageSize = 1 << 20 });
        Item large = new() { Data = ByteString.CopyFrom(new byte[2 << 20]) };
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => channel.UnaryAsync(EchoMethods.Say, large));
        Assert.Equal(GrpcStatusCode.ResourceExhausted, e.Code);
        Assert.Equal(1, (await channel.UnaryAsync(EchoMethods.Say, new Item { Number = 1 })).Number);
    }

    [Fact]
    public async Task UnknownMethod_IsUnimplemented()
    {
        using GrpcChannel channel = Channel();
        var unknown = new GrpcMethod<Item, Item>(GrpcMethodKind.Unary, "/disttrain.test.v1.Echo/Missing");
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => channel.UnaryAsync(unknown, new Item()));
        Assert.Equal(GrpcStatusCode.Unimplemented, e.Code);
    }

    [Fact]
    public async Task GarbageResponse_IsInternalAndTheChannelLives()
    {
        using GrpcChannel channel = Channel();
        var garbled = new GrpcMethod<Item, Item>(GrpcMethodKind.Unary, "/disttrain.test.v1.Garble/Say");
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => channel.UnaryAsync(garbled, new Item()));
        Assert.Equal(GrpcStatusCode.Internal, e.Code);
        Assert.Equal(1, (await channel.UnaryAsync(EchoMethods.Say, new Item { Number = 1 })).Number);
    }

    [Fact]
    public async Task Upload_PayloadsWrittenWithoutCopies_AreProtobufToThePeer()
    {
        using GrpcChannel channel = Channel();
        using var call = channel.Open(EchoMethods.Upload);
        var lines = new List<string>();
        foreach (int length in new[] { 0, 1, 100, 70_000, 3_000_000 })
        {
            var header = new Blob { Id = length, Name = "größe", Marks = { 1, 2, 3 }, Weight = 0.5 };
            byte[] payload = SinkRecord.Pattern(length);
            lines.Add(SinkRecord.Line(header, payload));
            await call.Requests.WriteAsync(header, payload);
        }

        Assert.Equal(string.Join(';', lines), (await call.FinishAsync()).Text);
    }

    [Fact]
    public async Task Download_PayloadsOfThePeer_ReachTheSink()
    {
        using GrpcChannel channel = Channel();
        var sink = new SinkRecord();
        using var call = channel.Send(EchoMethods.Download, new Item { Number = 3_000_000, Text = "w", Data = ByteString.CopyFrom(new byte[5]) });
        while (await call.Responses.ReadAsync(sink))
        {
        }

        byte[] payload = SinkRecord.Pattern(3_000_000);
        Assert.Equal(Enumerable.Range(0, 5).Select(i => SinkRecord.Line(new Blob { Id = i, Name = "w" }, payload)), sink.Completed);
    }

    [Fact]
    public async Task MutualTls_Works()
    {
        using GrpcChannel channel = Channel(Tls, new() { Tls = new(peer.Files.Authority, peer.Files.ClientCertificate, peer.Files.ClientKey) });
        Assert.Equal(1, (await channel.UnaryAsync(EchoMethods.Say, new Item { Number = 1 })).Number);
        using GrpcChannel stranger = Channel(Tls, new() { Tls = new(peer.Files.Authority) });
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => stranger.UnaryAsync(EchoMethods.Say, new Item()));
        Assert.Equal(GrpcStatusCode.Unavailable, e.Code);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Server_GoneInMidStream_IsUnavailable(bool frozen)
    {
        (PeerProcess process, string[] ports) = peer.Started();
        using (process)
        {
            GrpcChannelOptions options = new() { KeepAlivePingDelay = TimeSpan.FromSeconds(1), KeepAlivePingTimeout = TimeSpan.FromSeconds(1) };
            using var channel = new GrpcChannel($"http://127.0.0.1:{ports[Plain]}", options);
            using var call = channel.Send(EchoMethods.Hang, new Item { Text = "headers" });
            await call.GetHeadersAsync();
            Task<Item?> read = call.Responses.ReadAsync().AsTask();
            if (frozen) process.Signal("STOP");
            else process.Kill();
            GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => read.WaitAsync(TimeSpan.FromSeconds(60)));
            Assert.Equal(GrpcStatusCode.Unavailable, e.Code);
            process.Kill();
        }
    }

    private static async Task<int> CancelledAsync(GrpcChannel channel) => (await channel.UnaryAsync(EchoMethods.Say, new Item { Text = "cancelled?" })).Number;

    private static async Task CancelledBeyondAsync(GrpcChannel channel, int before)
    {
        long start = Environment.TickCount64;
        while (await CancelledAsync(channel) <= before) Assert.True(Environment.TickCount64 - start < 60_000, "the server's handler was not cancelled");
    }

    private async Task<int> FirstByteOfResponseAsync(Item item)
    {
        using var http = new HttpClient();
        byte[] message = item.ToByteArray();
        byte[] frame = [0, (byte)(message.Length >> 24), (byte)(message.Length >> 16), (byte)(message.Length >> 8), (byte)message.Length, .. message];
        using var request = new HttpRequestMessage(HttpMethod.Post, $"http://127.0.0.1:{peer.Ports[Limited]}{EchoMethods.Say.FullName}")
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(frame),
        };
        request.Content.Headers.TryAddWithoutValidation("content-type", "application/grpc");
        request.Headers.TryAddWithoutValidation("te", "trailers");
        request.Headers.TryAddWithoutValidation("grpc-accept-encoding", "gzip");
        using HttpResponseMessage response = await http.SendAsync(request);
        return (await response.Content.ReadAsByteArrayAsync())[0];
    }
}

public sealed class PythonAsServerTests(PythonServer peer) : PeerAsServer<PythonServer>(peer);

public sealed class NodeAsServerTests(NodeServer peer) : PeerAsServer<NodeServer>(peer);
