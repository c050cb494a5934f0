using System.Net;
using System.Net.Sockets;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;
using Google.Protobuf;

namespace DistTrain.Transport.Tests.Grpc;

public sealed class CancellationTests
{
    [Theory]
    [InlineData("")]
    [InlineData("headers")]
    public async Task Call_CancelledWithNobodyReading_CancelsTheHandler(string manner)
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var call = echo.Channel.Send(EchoMethods.Hang, new Item { Text = manner });
        if (manner == "headers") await call.GetHeadersAsync();
        await echo.Service.Hanging.WaitAsync();
        call.Cancel();
        Assert.True(await echo.Service.CancelledAsync());
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => call.Responses.ReadAsync().AsTask());
        Assert.Equal(GrpcStatusCode.Cancelled, e.Code);
    }

    [Fact]
    public async Task Call_Disposed_CancelsTheHandler()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using (var call = echo.Channel.Send(EchoMethods.Hang, new Item { Text = "headers" }))
        {
            await call.GetHeadersAsync();
        }

        Assert.True(await echo.Service.CancelledAsync());
    }

    [Fact]
    public async Task Call_TokenOfTheOptions_ThrowsOperationCanceled()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var source = new CancellationTokenSource();
        Task<Item?> read = echo.Channel.Send(EchoMethods.Hang, new Item(), new() { Cancellation = source.Token }).Responses.ReadAsync().AsTask();
        await echo.Service.Hanging.WaitAsync();
        await source.CancelAsync();
        OperationCanceledException e = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => read);
        Assert.Equal(source.Token, e.CancellationToken);
        Assert.True(await echo.Service.CancelledAsync());
    }

    [Fact]
    public async Task Read_TokenOfTheRead_CancelsTheCall()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var source = new CancellationTokenSource();
        using var call = echo.Channel.Send(EchoMethods.Hang, new Item { Text = "headers" });
        await call.GetHeadersAsync();
        Task<Item?> read = call.Responses.ReadAsync(source.Token).AsTask();
        await source.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => read);
        Assert.True(await echo.Service.CancelledAsync());
    }

    [Fact]
    public async Task Channel_Disposed_BreaksItsCallsOff()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var call = echo.Channel.Send(EchoMethods.Hang, new Item());
        await echo.Service.Hanging.WaitAsync();
        echo.Channel.Dispose();
        Assert.True(await echo.Service.CancelledAsync());
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => call.Responses.ReadAsync().AsTask());
        Assert.Equal((GrpcStatusCode.Cancelled, "the channel was closed"), (e.Code, e.Detail));
    }

    [Fact]
    public async Task Call_AbortedByTheHandler_IsCancelledAtTheClient()
    {
        var abort = new GrpcMethod<Item, Item>(GrpcMethodKind.ServerStreaming, "/disttrain.test.v1.Echo/Abort");
        await using EchoFixture echo = await EchoFixture.StartAsync(register: s => s.HandleServerStreaming(abort, async (_, responses, call) =>
        {
            await responses.WriteAsync(new Item { Number = 1 });
            call.Abort();
        }));
        using var call = echo.Channel.Send(abort, new Item());
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(async () =>
        {
            while (await call.Responses.ReadAsync() is { } item) Assert.Equal(1, item.Number);
        });
        Assert.Equal(GrpcStatusCode.Cancelled, e.Code);
    }

    [Fact]
    public async Task Upload_ClientGoneInMidPayload_IsAborted()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        echo.Service.Sink.Before = () =>
        {
            echo.Service.Hanging.Release();
            return Task.CompletedTask;
        };
        byte[] frame = Frames.Of(new Blob { Id = 9, Payload = ByteString.CopyFrom(new byte[100_000]) });
        Socket? socket = null;
        using var http = new HttpMessageInvoker(new SocketsHttpHandler
        {
            ConnectCallback = async (context, cancellation) =>
            {
                socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                await socket.ConnectAsync(context.DnsEndPoint, cancellation);
                return new NetworkStream(socket, ownsSocket: true);
            },
        });
        using var request = RawRequest(echo, EchoMethods.Upload, new HalfBody(frame.AsMemory(0, 50_000)));
        Task<HttpResponseMessage> response = http.SendAsync(request, default);
        await echo.Service.Hanging.WaitAsync();
        socket!.Close(0);
        Assert.True(await echo.Service.Sink.Aborted.WaitAsync(TimeSpan.FromSeconds(30)));
        await Assert.ThrowsAnyAsync<Exception>(() => response);
        Assert.Empty(echo.Service.Sink.Completed);
    }

    [Fact]
    public async Task Server_Stopped_EndsItsCalls()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var call = echo.Channel.Send(EchoMethods.Hang, new Item());
        await echo.Service.Hanging.WaitAsync();
        await echo.Server.StopAsync(TimeSpan.Zero);
        Assert.True(await echo.Service.CancelledAsync());
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => call.Responses.ReadAsync().AsTask());
        Assert.True(e.Code is GrpcStatusCode.Unavailable or GrpcStatusCode.Internal or GrpcStatusCode.Cancelled, e.Message);
    }

    [Fact]
    public async Task ReadsAndWrites_TwoAtOnce_AreRefused()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var call = echo.Channel.Open(EchoMethods.Chat);
        await call.GetHeadersAsync();
        Task<Item?> read = call.Responses.ReadAsync().AsTask();
        await Assert.ThrowsAsync<InvalidOperationException>(() => call.Responses.ReadAsync().AsTask());
        call.CompleteRequests();
        Assert.Null(await read);
        await Assert.ThrowsAsync<InvalidOperationException>(() => call.Requests.WriteAsync(new Item()).AsTask());
    }

    internal static HttpRequestMessage RawRequest(EchoFixture echo, GrpcMethod method, HttpContent content, string contentType = "application/grpc")
    {
        content.Headers.TryAddWithoutValidation("content-type", contentType);
        return new(HttpMethod.Post, new Uri($"http://{echo.Server.Endpoints[0]}{method.FullName}"))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = content,
        };
    }

    /// <summary>Sends some bytes and never comes to an end.</summary>
    private sealed class HalfBody(ReadOnlyMemory<byte> bytes) : HttpContent
    {
        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, default);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            await stream.WriteAsync(bytes, cancellationToken);
            await stream.FlushAsync(cancellationToken);
            await Task.Delay(Timeout.Infinite, cancellationToken);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
