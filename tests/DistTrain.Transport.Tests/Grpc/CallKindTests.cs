using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;
using Google.Protobuf;

namespace DistTrain.Transport.Tests.Grpc;

public sealed class CallKindTests
{
    [Fact]
    public async Task Unary_Request_ComesBack()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        Item reply = await echo.Channel.UnaryAsync(EchoMethods.Say, new Item { Text = "grüß dich", Number = -7 });
        Assert.Equal(new Item { Text = "grüß dich", Number = -7 }, reply);
    }

    [Fact]
    public async Task ServerStreaming_Request_GivesAllItemsInOrder()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var call = echo.Channel.Send(EchoMethods.Count, new Item { Number = 1000 });
        var numbers = new List<int>();
        await foreach (Item item in call.Responses.ReadAllAsync()) numbers.Add(item.Number);
        Assert.Equal(Enumerable.Range(0, 1000), numbers);
        Assert.Null(await call.Responses.ReadAsync());
    }

    [Fact]
    public async Task ServerStreaming_NoItems_EndsWithOk()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var call = echo.Channel.Send(EchoMethods.Count, new Item());
        Assert.Null(await call.Responses.ReadAsync());
    }

    [Fact]
    public async Task ClientStreaming_Items_AreSummed()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var call = echo.Channel.Open(EchoMethods.Sum);
        for (int i = 0; i < 100; i++) await call.Requests.WriteAsync(new Item { Number = i, Text = "x" });
        Item sum = await call.FinishAsync();
        Assert.Equal((4950, 100), (sum.Number, sum.Text.Length));
    }

    [Fact]
    public async Task Duplex_Items_ComeBackOneByOne()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var call = echo.Channel.Open(EchoMethods.Chat);
        await call.GetHeadersAsync();
        for (int i = 0; i < 50; i++)
        {
            await call.Requests.WriteAsync(new Item { Number = i });
            Assert.Equal(i, (await call.Responses.ReadAsync())!.Number);
        }

        call.CompleteRequests();
        Assert.Null(await call.Responses.ReadAsync());
    }

    [Fact]
    public async Task Unary_LargeMessage_ComesBackWhole()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        ByteString data = UnsafeByteOperations.UnsafeWrap(SinkRecord.Pattern(64 << 20));
        Item reply = await echo.Channel.UnaryAsync(EchoMethods.Say, new Item { Data = data });
        Assert.Equal(data, reply.Data);
    }

    [Fact]
    public async Task Calls_ManyAtOnce_ShareTheChannel()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        Item[] replies = await Task.WhenAll(Enumerable.Range(0, 200).Select(i => echo.Channel.UnaryAsync(EchoMethods.Say, new Item { Number = i })));
        Assert.Equal(Enumerable.Range(0, 200), replies.Select(r => r.Number));
    }

    [Fact]
    public async Task Unary_HandlerWithoutResponse_FailsByName()
    {
        var silent = new GrpcMethod<Item, Item>(GrpcMethodKind.Unary, "/disttrain.test.v1.Echo/Silent");
        await using EchoFixture echo = await EchoFixture.StartAsync(register: s => s.Handle(silent, async (requests, responses, call) => await requests.ReadAsync()));
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(silent, new Item()));
        Assert.Equal(GrpcStatusCode.Unknown, e.Code);
        Assert.Contains("Silent returned without a response", e.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Unary_NoRequest_IsUnimplemented()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        using var call = echo.Channel.Open(EchoMethods.Say);
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => call.FinishAsync());
        Assert.Equal(GrpcStatusCode.Unimplemented, e.Code);
    }

    [Fact]
    public async Task Unary_TwoRequests_IsUnimplemented()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        var stream = new GrpcMethod<Item, Item>(GrpcMethodKind.ClientStreaming, EchoMethods.Say.FullName);
        using var call = echo.Channel.Open(stream);
        await call.Requests.WriteAsync(new Item());
        await call.Requests.WriteAsync(new Item());
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => call.FinishAsync());
        Assert.Equal(GrpcStatusCode.Unimplemented, e.Code);
    }

    [Fact]
    public async Task Unary_TwoResponses_IsUnimplemented()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        var unary = new GrpcMethod<Item, Item>(GrpcMethodKind.Unary, EchoMethods.Count.FullName);
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(unary, new Item { Number = 2 }));
        Assert.Equal(GrpcStatusCode.Unimplemented, e.Code);
        e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(unary, new Item { Number = 0 }));
        Assert.Equal(GrpcStatusCode.Unimplemented, e.Code);
    }
}
