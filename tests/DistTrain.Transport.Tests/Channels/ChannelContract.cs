using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Sharding;

namespace DistTrain.Transport.Tests.Channels;

/// <summary>What every <see cref="IChannel"/> keeps; a subclass for each of them.</summary>
public abstract class ChannelContract
{
    protected const long Term = 5;
    protected const int Length = 1000;

    protected ChannelContract(bool shares = false) => (Shares, Server) = (shares, new FakeServer { Shares = shares });

    /// <summary>Whether tensors lie in memory that others can map.</summary>
    protected bool Shares { get; }

    /// <summary>Whether buckets can't overtake each other.</summary>
    protected virtual bool KeepsOrder => true;

    private protected FakeServer Server { get; }

    protected abstract IChannel Subject { get; }

    /// <summary>Where <see cref="Server"/> is.</summary>
    protected abstract ServerAddress Address { get; }

    protected static SegmentHeader Segment(long step, int bucket = 0, ulong incarnation = 1, SegmentKind kind = SegmentKind.Gradient) => new(
        kind, Term, incarnation, step, bucket, new ShardRange((int)step % 3, ((int)step % 3) + 2), new SegmentStats(0.1 * step, 1e300, step + 1, 1L << 40, 1L << 40));

    private protected Task<IServerConnection> ConnectAsync(FakeSink sink, ulong incarnation = 1) =>
        Subject.ConnectAsync(Address, Term, incarnation, sink, CancellationToken.None).WaitAsync(Patience.Long);

    private protected static async Task CloseAsync(IServerConnection connection) => await connection.DisposeAsync().AsTask().WaitAsync(Patience.Long);

    [Fact]
    public async Task Push_ManySegments_ArriveWholeInOrderToTheBit()
    {
        IServerConnection connection = await ConnectAsync(new FakeSink(Length));
        int[] lengths = [1, 15, 16, 1000, 4097, 300_000];
        var sent = new List<(SegmentHeader Header, Pinned Payload)>();
        for (int i = 0; i < 30; i++)
        {
            sent.Add((Segment(i, bucket: i % 7), Pinned.Random(lengths[i % lengths.Length], i, Shares)));
            connection.Push(sent[i].Header, sent[i].Payload.Span);
        }

        var received = new List<Received>();
        for (int i = 0; i < sent.Count; i++) received.Add(await Server.NextAsync());
        if (!KeepsOrder) received.Sort((a, b) => a.Header.Step.CompareTo(b.Header.Step));
        foreach (((SegmentHeader header, Pinned payload), Received came) in sent.Zip(received))
        {
            Assert.Equal(header, came.Header);
            Assert.Equal(Pinned.Bits(payload.Values), came.Bits);
        }

        await CloseAsync(connection);
        Assert.True(Server.NothingMoreCame());
        Assert.Equal(0, Server.Held);
    }

    [Fact]
    public async Task Push_EvaluationSegments_ArriveWithoutPayloadAmongTheOthers()
    {
        IServerConnection connection = await ConnectAsync(new FakeSink(Length));
        Pinned payload = Pinned.Random(Length, 1, Shares);
        SegmentHeader evaluation = Segment(8, bucket: -1, kind: SegmentKind.Evaluation);

        connection.Push(evaluation, default);
        connection.Push(Segment(9), payload.Span);
        connection.Push(evaluation with { Step = 10 }, default);

        Received first = await Server.NextAsync();
        Assert.Equal((evaluation, false), (first.Header, first.HasBuffer));
        Received second = await Server.NextAsync();
        Assert.Equal((Segment(9), true), (second.Header, second.HasBuffer));
        Assert.Equal(Pinned.Bits(payload.Values), second.Bits);
        Assert.Equal((evaluation with { Step = 10 }, false), ((await Server.NextAsync()) is var third ? (third.Header, third.HasBuffer) : default));
        await CloseAsync(connection);
    }

    [Fact]
    public async Task Weights_Published_StandInTheSinksPlaceInAscendingVersions()
    {
        var sink = new FakeSink(Length);
        var arrived = new List<Arrived>();
        IServerConnection connection = await ConnectAsync(sink);
        for (int i = 0; i < 40; i++) Server.Publish(1, new WeightsHeader(Term, i / 2, i % 2) { Averaged = i % 3 == 0 }, Pinned.Random(Length, i));

        for (int i = 0; i < 40; i++)
        {
            arrived.Add(await sink.NextAsync());
        }

        if (!KeepsOrder) arrived = [.. arrived.OrderBy(a => a.Header.Version).ThenBy(a => a.Header.Bucket)];
        for (int i = 0; i < 40; i++)
        {
            Assert.Equal(new WeightsHeader(Term, i / 2, i % 2) { Averaged = i % 3 == 0 }, arrived[i].Header);
            Assert.Equal(Pinned.Bits(Pinned.Random(Length, i).Values), arrived[i].Bits);
        }

        await CloseAsync(connection);
    }

    [Fact]
    public async Task Weights_SinkThatWaits_HoldsBackTheRestAndThenGoesOn()
    {
        var gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var held = new FakeSink(Length);
        held.Accepts = async (_, cancellation) =>
        {
            await gate.Task.WaitAsync(cancellation);
            return true;
        };
        var free = new FakeSink(Length);
        IServerConnection waiting = await ConnectAsync(held, 1);
        IServerConnection flowing = await ConnectAsync(free, 2);
        for (int i = 0; i < 20; i++)
        {
            Server.Publish(1, new WeightsHeader(Term, i, 0), Pinned.Random(Length, i));
            Server.Publish(2, new WeightsHeader(Term, i, 0), Pinned.Random(Length, i));
        }

        // The other connection has got everything; the first bucket here is still being waited for.
        for (int i = 0; i < 20; i++) await free.NextAsync();
        Assert.InRange(held.Begun, 0, 1);
        gate.SetResult();

        for (int i = 0; i < 20; i++)
        {
            Arrived arrived = await held.NextAsync();
            Assert.Equal(i, arrived.Header.Version);
            Assert.Equal(Pinned.Bits(Pinned.Random(Length, i).Values), arrived.Bits);
        }

        await CloseAsync(waiting);
        await CloseAsync(flowing);
    }

    [Fact]
    public async Task Weights_SinkWithoutAPlace_AreDroppedAndTheNextArrive()
    {
        var sink = new FakeSink(Length) { Accepts = (header, _) => Task.FromResult(header.Version % 3 == 2) };
        IServerConnection connection = await ConnectAsync(sink);
        for (int i = 0; i < 9; i++) Server.Publish(1, new WeightsHeader(Term, i, 4), Pinned.Random(Length, i));

        for (int i = 2; i < 9; i += 3)
        {
            Arrived arrived = await sink.NextAsync();
            Assert.Equal(i, arrived.Header.Version);
            Assert.Equal(Pinned.Bits(Pinned.Random(Length, i).Values), arrived.Bits);
        }

        Assert.Equal(9, sink.Begun);
        await CloseAsync(connection);
    }

    [Fact]
    public async Task Connect_RefusedByTheServer_SaysWhichServerAndWhy()
    {
        Server.Refusal = new DistTrainException(ExitCode.ClusterLost, "term 5 was asked for, this server is at term 6");

        DistTrainException error = await Assert.ThrowsAsync<DistTrainException>(() => ConnectAsync(new FakeSink(Length)));

        Assert.Contains("this server is at term 6", error.Message, StringComparison.Ordinal);
        Assert.Contains($"server {Address.Member}", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Lost_ServerStops_CompletesWithACauseAndPushesDoNothing()
    {
        IServerConnection connection = await ConnectAsync(new FakeSink(Length));
        Assert.False(connection.Lost.IsCompleted);

        Server.Stop();

        Assert.False(string.IsNullOrEmpty(await connection.Lost.WaitAsync(Patience.Long)));
        connection.Push(Segment(1), new Pinned(Length).Span);
        await CloseAsync(connection);
        Assert.NotNull(await connection.Lost);
    }

    [Fact]
    public async Task Dispose_Connected_CompletesLostWithNullAndEndsTheSubscription()
    {
        IServerConnection connection = await ConnectAsync(new FakeSink(Length));

        await CloseAsync(connection);

        Assert.Null(await connection.Lost.WaitAsync(Patience.Long));
        await Server.UnsubscribedAsync(1);
    }

    [Fact]
    public async Task Dispose_WeightsInFlight_NoCallOfTheSinkComesAfterIt()
    {
        var sink = new FakeSink(Length);
        IServerConnection connection = await ConnectAsync(sink, 1);
        for (int i = 0; i < 500; i++) Server.Publish(1, new WeightsHeader(Term, i, 0), new Pinned(Length));
        await sink.NextAsync();

        await CloseAsync(connection);
        int calls = sink.Calls;

        // Another connection's round trip, after which this one would have heard something.
        for (int i = 0; i < 100; i++) Server.Publish(1, new WeightsHeader(Term, 500 + i, 0), new Pinned(Length));
        var other = new FakeSink(Length);
        IServerConnection next = await ConnectAsync(other, 2);
        for (int i = 0; i < 100; i++) Server.Publish(2, new WeightsHeader(Term, i, 0), new Pinned(Length));
        for (int i = 0; i < 100; i++) await other.NextAsync();
        Assert.Equal(calls, sink.Calls);
        await CloseAsync(next);
    }

    [Fact]
    public async Task Dispose_WhileTheSinkWaits_CancelsTheWait()
    {
        var begun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var sink = new FakeSink(Length);
        sink.Accepts = async (_, cancellation) =>
        {
            begun.TrySetResult();
            await Task.Delay(Timeout.Infinite, cancellation);
            return true;
        };
        IServerConnection connection = await ConnectAsync(sink);
        Server.Publish(1, new WeightsHeader(Term, 0, 0), new Pinned(Length));
        await begun.Task.WaitAsync(Patience.Long);

        await CloseAsync(connection);

        Assert.Null(await connection.Lost.WaitAsync(Patience.Long));
    }

    [Fact]
    public async Task Connections_SeveralAtOnce_DoNotMix()
    {
        const int connections = 4, each = 25;
        var sinks = Enumerable.Range(0, connections).Select(_ => new FakeSink(Length)).ToList();
        IServerConnection[] connected = await Task.WhenAll(sinks.Select((sink, c) => ConnectAsync(sink, (ulong)c + 1)));
        var payloads = new List<Pinned>();
        for (int i = 0; i < each; i++)
        {
            for (int c = 0; c < connections; c++)
            {
                payloads.Add(Pinned.Random(Length, (i * connections) + c, Shares));
                connected[c].Push(Segment(i, bucket: c, incarnation: (ulong)c + 1), payloads[^1].Span);
                Server.Publish((ulong)c + 1, new WeightsHeader(Term, i, c), Pinned.Random(Length, -1 - (i * connections) - c));
            }
        }

        long[] next = new long[connections];
        for (int k = 0; k < connections * each; k++)
        {
            Received received = await Server.NextAsync();
            int c = (int)received.Header.Incarnation - 1;
            Assert.Equal(Segment(next[c]++, bucket: c, incarnation: (ulong)c + 1), received.Header);
            Assert.Equal(Pinned.Bits(payloads[((int)received.Header.Step * connections) + c].Values), received.Bits);
        }

        for (int i = 0; i < each; i++)
        {
            for (int c = 0; c < connections; c++)
            {
                Arrived arrived = await sinks[c].NextAsync();
                Assert.Equal(new WeightsHeader(Term, i, c), arrived.Header);
                Assert.Equal(Pinned.Bits(Pinned.Random(Length, -1 - (i * connections) - c).Values), arrived.Bits);
            }
        }

        foreach (IServerConnection connection in connected) await CloseAsync(connection);
    }
}
