using System.Collections.Concurrent;
using System.Threading.Channels;
using DistTrain.Core.Channels;

namespace DistTrain.Transport.Tests.Channels;

/// <summary>Weights as they stood in the sink's place when they were complete.</summary>
internal sealed record Arrived(WeightsHeader Header, int[] Bits);

/// <summary>A worker's end in the test's hand: one place a bucket, and a say in what may come when.</summary>
internal sealed class FakeSink(int length) : IWeightsSink
{
    private readonly ConcurrentDictionary<int, Pinned> _places = new();
    private readonly Channel<Arrived> _arrived = Channel.CreateUnbounded<Arrived>();
    private int _begun;
    private int _calls;

    /// <summary>False drops a bucket; waiting makes the channel wait.</summary>
    public Func<WeightsHeader, CancellationToken, Task<bool>> Accepts { get; set; } = (_, _) => Task.FromResult(true);

    /// <summary>Buckets that were announced.</summary>
    public int Begun => Volatile.Read(ref _begun);

    /// <summary>Calls of any kind.</summary>
    public int Calls => Volatile.Read(ref _calls);

    public async ValueTask<NativeSpan> BeginAsync(WeightsHeader header, CancellationToken cancellation)
    {
        Interlocked.Increment(ref _begun);
        Interlocked.Increment(ref _calls);
        return await Accepts(header, cancellation) ? _places.GetOrAdd(header.Bucket, _ => new Pinned(length)).Span : default;
    }

    public void Complete(WeightsHeader header)
    {
        Interlocked.Increment(ref _calls);
        _arrived.Writer.TryWrite(new(header, Pinned.Bits(_places[header.Bucket].Values)));
    }

    public void Abort(WeightsHeader header) => Interlocked.Increment(ref _calls);

    /// <summary>The next bucket that is complete.</summary>
    public async Task<Arrived> NextAsync() => await _arrived.Reader.ReadAsync().AsTask().WaitAsync(Patience.Long);
}
