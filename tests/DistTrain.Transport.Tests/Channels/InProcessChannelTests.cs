using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Transport.InProcess;

namespace DistTrain.Transport.Tests.Channels;

public sealed class InProcessChannelTests : ChannelContract
{
    public InProcessChannelTests() => Subject = new InProcessChannel(_ => Server);

    protected override IChannel Subject { get; }

    protected override ServerAddress Address { get; } = new(0, new MemberId(7), "in-process");

    // Segments are the worker's own memory here, which it frees once the connection is closed.
    [Fact]
    public async Task Dispose_SegmentsQueued_NoCallOfTheServerComesAfterIt()
    {
        var taking = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Server.BeforeTaking = async (header, cancellation) =>
        {
            if (header.Step < 3) return;
            taking.TrySetResult();
            await Task.Delay(Timeout.Infinite, cancellation);
        };
        IServerConnection connection = await ConnectAsync(new FakeSink(Length));
        var payload = new Pinned(Length);
        for (int i = 0; i < 100; i++) connection.Push(Segment(i), payload.Span);
        await taking.Task.WaitAsync(Patience.Long);

        await CloseAsync(connection);

        int calls = Server.Calls;
        connection.Push(Segment(200), payload.Span);
        IServerConnection next = await ConnectAsync(new FakeSink(Length), 2);
        next.Push(Segment(0, incarnation: 2), payload.Span);
        Received received;
        do received = await Server.NextAsync();
        while (received.Header.Incarnation != 2);
        Assert.Equal(calls + 1, Server.Calls);
        await CloseAsync(next);
    }
}
