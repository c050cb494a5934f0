using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;
using Google.Protobuf;

namespace DistTrain.Transport.Tests.Grpc;

public sealed class StatusTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public async Task Failure_AfterSomeItems_HasCodeMessageAndTrailers(int items)
    {
        const string Detail = "100 % kaputt: größer 😀\nzwei";
        await using EchoFixture echo = await EchoFixture.StartAsync();
        foreach (GrpcStatusCode code in Enum.GetValues<GrpcStatusCode>().Where(c => c != GrpcStatusCode.Ok))
        {
            using var call = echo.Channel.Send(EchoMethods.Fail, new Item { Number = (int)code, Text = Detail, Data = ByteString.CopyFrom(new byte[items]) });
            for (int i = 0; i < items; i++) Assert.Equal(i, (await call.Responses.ReadAsync())!.Number);
            for (int again = 0; again < 2; again++)
            {
                GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => call.Responses.ReadAsync().AsTask());
                Assert.Equal((code, Detail), (e.Code, e.Detail));
                Assert.Equal("asked for", e.Trailers.Get("x-why"));
                Assert.Equal([0, 255, 128], e.Trailers.GetBytes("x-why-bin")!);
            }

            Assert.Equal("asked for", call.Trailers.Get("x-why"));
        }
    }

    [Fact]
    public async Task Call_UnknownMethod_IsUnimplementedByName()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        var unknown = new GrpcMethod<Item, Item>(GrpcMethodKind.Unary, "/disttrain.test.v1.Echo/Missing");
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(unknown, new Item()));
        Assert.Equal(GrpcStatusCode.Unimplemented, e.Code);
        Assert.Contains("/disttrain.test.v1.Echo/Missing", e.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Handler_Throws_IsUnknownWithTypeAndMessage()
    {
        var broken = new GrpcMethod<Item, Item>(GrpcMethodKind.Unary, "/disttrain.test.v1.Echo/Broken");
        await using EchoFixture echo = await EchoFixture.StartAsync(register: s => s.HandleUnary(broken, (_, _) => throw new FormatException("no number")));
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(broken, new Item()));
        Assert.Equal((GrpcStatusCode.Unknown, "FormatException: no number"), (e.Code, e.Detail));
    }

    [Fact]
    public async Task Handler_ThrowsWhatTheOptionsKnow_HasTheirStatus()
    {
        var broken = new GrpcMethod<Item, Item>(GrpcMethodKind.Unary, "/disttrain.test.v1.Echo/Broken");
        GrpcServerOptions options = EchoFixture.Loopback with { StatusOf = e => e is FormatException ? new(GrpcStatusCode.InvalidArgument, "mapped") : null };
        await using EchoFixture echo = await EchoFixture.StartAsync(options, register: s => s.HandleUnary(broken, (_, _) => throw new FormatException("no number")));
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(broken, new Item()));
        Assert.Equal((GrpcStatusCode.InvalidArgument, "mapped"), (e.Code, e.Detail));
    }

    [Fact]
    public async Task ClientStreaming_ServerFailsEarly_TheWriterLearnsWhy()
    {
        var picky = new GrpcMethod<Item, Item>(GrpcMethodKind.ClientStreaming, "/disttrain.test.v1.Echo/Picky");
        await using EchoFixture echo = await EchoFixture.StartAsync(register: s => s.HandleClientStreaming(picky, async (requests, call) =>
        {
            await requests.ReadAsync();
            throw new GrpcException(GrpcStatusCode.FailedPrecondition, "wrong term");
        }));
        using var call = echo.Channel.Open(picky);
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(async () =>
        {
            // Ends when the server's status arrives: the flow-control window is finite.
            while (true) await call.Requests.WriteAsync(new Item { Data = ByteString.CopyFrom(new byte[100_000]) });
        });
        Assert.Equal((GrpcStatusCode.FailedPrecondition, "wrong term"), (e.Code, e.Detail));
        e = await Assert.ThrowsAsync<GrpcException>(() => call.FinishAsync());
        Assert.Equal((GrpcStatusCode.FailedPrecondition, "wrong term"), (e.Code, e.Detail));
    }

    [Fact]
    public async Task Call_NobodyListens_IsUnavailableWithTheAddress()
    {
        EchoFixture echo = await EchoFixture.StartAsync();
        await echo.DisposeAsync();
        using var channel = new GrpcChannel($"http://{echo.Server.Endpoints[0]}");
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => channel.UnaryAsync(EchoMethods.Say, new Item()));
        Assert.Equal(GrpcStatusCode.Unavailable, e.Code);
        Assert.Contains(echo.Server.Endpoints[0].ToString(), e.Detail, StringComparison.Ordinal);
        using var call = channel.Open(EchoMethods.Sum);
        e = await Assert.ThrowsAsync<GrpcException>(() => call.Requests.WriteAsync(new Item()).AsTask());
        Assert.Equal(GrpcStatusCode.Unavailable, e.Code);
    }

    [Theory]
    [InlineData("127.0.0.1:5000")]
    [InlineData("ftp://host:1")]
    [InlineData("http://host:1/path")]
    public void Channel_BadAddress_IsRefused(string address) => Assert.Throws<ArgumentException>(() => new GrpcChannel(address));
}
