using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;
using Google.Protobuf;

namespace DistTrain.Transport.Tests.Grpc;

public sealed class LimitTests
{
    private static Item Large => new() { Data = ByteString.CopyFrom(new byte[200_000]) };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Request_OverTheServersLimit_IsResourceExhausted(bool compress)
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(EchoFixture.Loopback with { MaxReceiveMessageSize = 100_000 });
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(EchoMethods.Say, Large, new() { Compress = compress }));
        Assert.Equal(GrpcStatusCode.ResourceExhausted, e.Code);
        Assert.Contains("100000", e.Detail, StringComparison.Ordinal);
        Assert.Equal(1, (await echo.Channel.UnaryAsync(EchoMethods.Say, new Item { Number = 1 })).Number);
    }

    [Fact]
    public async Task Response_OverTheClientsLimit_IsResourceExhaustedAndCancelsTheCall()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(channelOptions: new() { MaxReceiveMessageSize = 100_000 });
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(EchoMethods.Say, Large));
        Assert.Equal(GrpcStatusCode.ResourceExhausted, e.Code);
        Assert.Equal(1, (await echo.Channel.UnaryAsync(EchoMethods.Say, new Item { Number = 1 })).Number);
    }

    [Fact]
    public async Task Response_OverTheServersSendLimit_IsResourceExhausted()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(EchoFixture.Loopback with { MaxSendMessageSize = 100_000 });
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(EchoMethods.Say, Large));
        Assert.Equal(GrpcStatusCode.ResourceExhausted, e.Code);
    }

    [Fact]
    public async Task Request_OverTheClientsSendLimit_LeavesTheCallAsItWas()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(channelOptions: new() { MaxSendMessageSize = 100_000 });
        using var call = echo.Channel.Open(EchoMethods.Sum);
        await call.Requests.WriteAsync(new Item { Number = 1 });
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => call.Requests.WriteAsync(Large).AsTask());
        Assert.Equal(GrpcStatusCode.ResourceExhausted, e.Code);
        await call.Requests.WriteAsync(new Item { Number = 2 });
        Assert.Equal(3, (await call.FinishAsync()).Number);
    }

    [Fact]
    public async Task Gzip_BothWays_GivesTheSameMessages()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(EchoFixture.Loopback with { Compress = true });
        Assert.Equal(Large, await echo.Channel.UnaryAsync(EchoMethods.Say, Large, new() { Compress = true }));
        Assert.Equal(new Item(), await echo.Channel.UnaryAsync(EchoMethods.Say, new Item(), new() { Compress = true }));
    }

    [Fact]
    public async Task Payload_OnACompressedCall_StaysAsItIs()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(EchoFixture.Loopback with { Compress = true });
        using var call = echo.Channel.Open(EchoMethods.Upload, new() { Compress = true });
        await call.Requests.WriteAsync(new Blob { Id = 1 }, SinkRecord.Pattern(1000));
        await call.Requests.WriteAsync(new Blob { Id = 2, Payload = ByteString.CopyFrom(SinkRecord.Pattern(1000)) });
        Item reply = await call.FinishAsync();
        Assert.Equal(string.Join(';', SinkRecord.Line(new Blob { Id = 1 }, SinkRecord.Pattern(1000)), SinkRecord.Line(new Blob { Id = 2 }, SinkRecord.Pattern(1000))), reply.Text);
    }
}
