using System.Collections.Concurrent;
using System.Threading.Channels;
using DistTrain.Core;
using DistTrain.Core.Channels;

namespace DistTrain.Transport.Tests.Channels;

/// <summary>A segment as the port got it.</summary>
internal sealed record Received(SegmentHeader Header, bool HasBuffer, int[] Bits);

/// <summary>A parameter server in the test's hand: what it publishes to whom, what it drops, whom it refuses.</summary>
internal sealed class FakeServer : IParameterServerPort
{
    private readonly ConcurrentDictionary<(ulong Incarnation, int Lane), Subscription> _subscriptions = new();
    private readonly Channel<Received> _received = Channel.CreateUnbounded<Received>();
    private int _held;
    private int _calls;

    /// <summary>Whether weights lie where others can map them; they then stay as they are.</summary>
    public bool Shares { get; init; }

    public DistTrainException? Refusal { get; set; }

    public Func<SegmentHeader, bool> Drops { get; set; } = _ => false;

    /// <summary>Runs before a segment is taken; waiting there is a full mailbox.</summary>
    public Func<SegmentHeader, CancellationToken, Task> BeforeTaking { get; set; } = (_, _) => Task.CompletedTask;

    /// <summary>Buffers that were given out, or lent, and not released.</summary>
    public int Held => Volatile.Read(ref _held);

    /// <summary>Calls for segments so far.</summary>
    public int Calls => Volatile.Read(ref _calls);

    public ISegmentBuffer? BeginSegment(in SegmentHeader header, int length)
    {
        Interlocked.Increment(ref _calls);
        if (Drops(header)) return null;
        Interlocked.Increment(ref _held);
        return new Room(this, new Pinned(length));
    }

    public bool Wants(in SegmentHeader header, int length)
    {
        Interlocked.Increment(ref _calls);
        return !Drops(header);
    }

    public async ValueTask CompleteSegmentAsync(SegmentHeader header, ISegmentBuffer? buffer, CancellationToken cancellation)
    {
        Interlocked.Increment(ref _calls);
        await BeforeTaking(header, cancellation);
        _received.Writer.TryWrite(new(header, buffer is not null, buffer is null ? [] : Pinned.Bits(buffer.Elements.Span)));
        buffer?.Release();
    }

    /// <summary>Over how many connections subscribers get their weights.</summary>
    public int Lanes { get; private set; } = 1;

    public IWeightsSubscription Subscribe(long term, ulong incarnation, bool inline = false, Lane lane = default)
    {
        if (Refusal is { } refusal) throw refusal;
        Lanes = Math.Max(lane.Count, 1);
        return _subscriptions[(incarnation, lane.Index)] = new Subscription(this);
    }

    /// <summary>The next segment that comes.</summary>
    public async Task<Received> NextAsync() => await _received.Reader.ReadAsync().AsTask().WaitAsync(Patience.Long);

    public bool NothingMoreCame() => !_received.Reader.TryRead(out _);

    public void Publish(ulong subscriber, WeightsHeader header, Pinned payload) =>
        _subscriptions[(subscriber, Lane.Of(header.Bucket, Lanes))].Published.Writer.TryWrite((header, payload));

    /// <summary>As a server does when it stops: there is nothing more to send.</summary>
    public void Stop()
    {
        foreach (Subscription subscription in _subscriptions.Values) subscription.Published.Writer.TryComplete();
    }

    /// <summary>Completes when the subscription has been disposed.</summary>
    public Task UnsubscribedAsync(ulong subscriber, int lane = 0) => _subscriptions[(subscriber, lane)].Disposed.Task.WaitAsync(Patience.Long);

    private sealed class Room(FakeServer server, Pinned memory) : ISegmentBuffer
    {
        public NativeSpan Elements => memory.Span;

        public bool Writable => true;

        public void Release() => Interlocked.Decrement(ref server._held);
    }

    private sealed class Subscription(FakeServer server) : IWeightsSubscription
    {
        private readonly List<Pinned> _kept = [];
        private Pinned? _reading;

        public Channel<(WeightsHeader Header, Pinned Payload)> Published { get; } = Channel.CreateUnbounded<(WeightsHeader, Pinned)>();

        public TaskCompletionSource Disposed { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public async ValueTask<(WeightsHeader Header, NativeSpan Payload)?> NextAsync(CancellationToken cancellation)
        {
            // Only until this call might the last payload be read.
            if (!server.Shares) _reading?.Values.Fill(float.NegativeInfinity);
            else if (_reading is not null) _kept.Add(_reading);
            if (!await Published.Reader.WaitToReadAsync(cancellation)) return null;
            (WeightsHeader header, Pinned payload) = await Published.Reader.ReadAsync(cancellation);
            _reading = new Pinned(payload.Values.Length, server.Shares);
            payload.Values.CopyTo(_reading.Values);
            return (header, _reading.Span);
        }

        public void Dispose() => Disposed.TrySetResult();
    }
}
