using System.Threading.Channels;
using DistTrain.Core;
using DistTrain.Core.Channels;

namespace DistTrain.Bench.Channels;

/// <summary>A parameter server that does nothing with segments but count them, and sends weights when it is told to.</summary>
internal sealed class ChannelPort(NativeSpan weights, NativeSpan room) : IParameterServerPort
{
    private readonly Channel<int>[] _wanted = [.. Enumerable.Range(0, Lane.Most).Select(_ => Channel.CreateUnbounded<int>())];
    private readonly Room _room = new(room);
    private TaskCompletionSource _arrived = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _left;

    /// <summary>Completes when so many segments have come from now on.</summary>
    public Task Expect(int segments)
    {
        _arrived = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Volatile.Write(ref _left, segments);
        return _arrived.Task;
    }

    /// <summary>Sends so many buckets over each of so many connections.</summary>
    public void Send(int buckets, int lanes)
    {
        for (int lane = 0; lane < lanes; lane++) _wanted[lane].Writer.TryWrite(buckets / lanes);
    }

    /// <inheritdoc/>
    public ISegmentBuffer? BeginSegment(in SegmentHeader header, int length) => length == room.Length ? _room : null;

    /// <inheritdoc/>
    public bool Wants(in SegmentHeader header, int length) => length == room.Length;

    /// <inheritdoc/>
    public ValueTask CompleteSegmentAsync(SegmentHeader header, ISegmentBuffer? buffer, CancellationToken cancellation)
    {
        buffer?.Release();
        if (Interlocked.Decrement(ref _left) == 0) _arrived.TrySetResult();
        return ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    public IWeightsSubscription Subscribe(long term, ulong incarnation, bool inline = false, Lane lane = default) => new Subscription(this, lane);

    // Everything lands in one place, which nobody reads.
    private sealed class Room(NativeSpan room) : ISegmentBuffer
    {
        public NativeSpan Elements => room;

        public bool Writable => true;

        public void Release()
        {
        }
    }

    private sealed class Subscription(ChannelPort owner, Lane lane) : IWeightsSubscription
    {
        private int _left;
        private long _version;

        public async ValueTask<(WeightsHeader Header, NativeSpan Payload)?> NextAsync(CancellationToken cancellation)
        {
            while (_left == 0) _left = await owner._wanted[lane.Index].Reader.ReadAsync(cancellation);
            _left--;
            return (new WeightsHeader(1, _version++, 0), owner.Weights);
        }

        public void Dispose()
        {
        }
    }

    private NativeSpan Weights => weights;
}
