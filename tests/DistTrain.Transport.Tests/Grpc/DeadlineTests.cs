using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;

namespace DistTrain.Transport.Tests.Grpc;

public sealed class DeadlineTests
{
    private static readonly GrpcCallOptions TenSeconds = new() { Timeout = TimeSpan.FromSeconds(10) };

    [Fact]
    public async Task Deadline_PassesAtTheClient_EndsTheCallOnBothSides()
    {
        var time = new ManualTime();
        await using EchoFixture echo = await EchoFixture.StartAsync(EchoFixture.Loopback with { Time = new ManualTime() }, new() { Time = time });
        using var call = echo.Channel.Send(EchoMethods.Hang, new Item(), TenSeconds);
        await echo.Service.Hanging.WaitAsync();
        Task<Item?> read = call.Responses.ReadAsync().AsTask();
        time.Advance(TimeSpan.FromSeconds(9.9));
        Assert.False(read.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(0.2));
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => read);
        Assert.Equal(GrpcStatusCode.DeadlineExceeded, e.Code);
        Assert.Contains("Hang", e.Detail, StringComparison.Ordinal);
        Assert.True(await echo.Service.CancelledAsync());
    }

    [Theory]
    [InlineData("headers")]
    [InlineData("")]
    [InlineData("deaf")]
    public async Task Deadline_PassesAtTheServer_EndsTheCallWhateverTheHandlerDoes(string manner)
    {
        var time = new ManualTime();
        await using EchoFixture echo = await EchoFixture.StartAsync(EchoFixture.Loopback with { Time = time }, new() { Time = new ManualTime() });
        using var call = echo.Channel.Send(EchoMethods.Hang, new Item { Text = manner }, TenSeconds);
        await echo.Service.Hanging.WaitAsync();
        time.Advance(TimeSpan.FromSeconds(11));
        Assert.True(await echo.Service.CancelledAsync());
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => call.Responses.ReadAsync().AsTask());
        Assert.Equal(GrpcStatusCode.DeadlineExceeded, e.Code);
    }

    [Fact]
    public async Task Deadline_AtTheServer_IsKnownToTheHandler()
    {
        var time = new ManualTime();
        var ask = new GrpcMethod<Item, Item>(GrpcMethodKind.Unary, "/disttrain.test.v1.Echo/Deadline");
        await using EchoFixture echo = await EchoFixture.StartAsync(
            EchoFixture.Loopback with { Time = time },
            register: s => s.HandleUnary(ask, (_, call) => Task.FromResult(new Item { Text = $"{(call.Deadline - time.GetUtcNow())?.TotalSeconds}" })));
        Assert.Equal("10", (await echo.Channel.UnaryAsync(ask, new Item(), TenSeconds)).Text);
        Assert.Equal("", (await echo.Channel.UnaryAsync(ask, new Item())).Text);
    }

    [Fact]
    public async Task Deadline_AlreadyPassed_CallsNobody()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync();
        GrpcException e = await Assert.ThrowsAsync<GrpcException>(() => echo.Channel.UnaryAsync(EchoMethods.Say, new Item(), new() { Timeout = TimeSpan.Zero }));
        Assert.Equal(GrpcStatusCode.DeadlineExceeded, e.Code);
    }

    [Fact]
    public async Task Deadline_NotReached_LeavesTheCallAlone()
    {
        await using EchoFixture echo = await EchoFixture.StartAsync(EchoFixture.Loopback with { Time = new ManualTime() }, new() { Time = new ManualTime() });
        Assert.Equal(5, (await echo.Channel.UnaryAsync(EchoMethods.Say, new Item { Number = 5 }, TenSeconds)).Number);
        Assert.Equal(6, (await echo.Channel.UnaryAsync(EchoMethods.Say, new Item { Number = 6 }, new() { Timeout = Timeout.InfiniteTimeSpan })).Number);
    }
}
