using DistTrain.Core.Channels;
using DistTrain.Core.Sharding;

namespace DistTrain.Training.Tests.Worker;

/// <summary>A connection that only counts: pushing allocates nothing.</summary>
internal class FakeConnection : IServerConnection
{
    public int Pushed { get; private set; }

    public Task<string?> Lost { get; } = new TaskCompletionSource<string?>().Task;

    public virtual void Push(in SegmentHeader header, NativeSpan payload) => Pushed++;

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}

/// <summary>A connection that keeps what is pushed, as it was then.</summary>
internal sealed class KeepingConnection : FakeConnection
{
    public List<(SegmentHeader Header, NativeSpan Payload, float[] Values)> Segments { get; } = [];

    public override void Push(in SegmentHeader header, NativeSpan payload)
    {
        base.Push(header, payload);
        Segments.Add((header, payload, payload.Span.ToArray()));
    }

    public IEnumerable<(int Bucket, ShardRange Node)> Keys => Segments.Select(s => (s.Header.Bucket, s.Header.Shards));
}
