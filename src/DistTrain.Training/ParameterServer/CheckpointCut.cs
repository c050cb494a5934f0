using System.Runtime.CompilerServices;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Training.ParameterServer;

/// <summary>
/// A copy of one partition at one version, taken bucket by bucket before each changes: the cut of DESIGN, I2.
/// </summary>
internal sealed class CheckpointCut : IDisposable
{
    private readonly PartitionState _state;
    private readonly List<(string Name, NativeBuffer Copy)> _vectors;
    private readonly HashSet<int> _missing;

    public CheckpointCut(PartitionState state, long term, long version)
    {
        (_state, Term, Version) = (state, term, version);
        _vectors = [.. state.VectorNames.Select(name => (name, new NativeBuffer(state.Partition.Length)))];
        _missing = [.. state.Partition.Buckets.Select(b => b.Index)];
    }

    public long Term { get; }

    public long Version { get; }

    public bool Complete => _missing.Count == 0;

    /// <summary>Copies a bucket, which stands at <see cref="Version"/>.</summary>
    public void Copy(Bucket bucket)
    {
        if (!_missing.Remove(bucket.Index)) return;
        foreach ((string name, NativeBuffer copy) in _vectors)
        {
            Span<float> source = _state.Vector(name, Version, bucket.Offset, bucket.Length).Span;
            source.CopyTo(PieceOf(copy, bucket).Span);
        }
    }

    /// <summary>Sends the copy to where checkpoints are written, bucket-sized pieces of one vector after the other.</summary>
    public async Task UploadAsync(ICheckpointPort port, CancellationToken cancellation) =>
        await port.SaveAsync(PiecesAsync(cancellation), cancellation);

    /// <summary>Sends the copy to where else it is wanted.</summary>
    public Task CopyAsync(Func<IAsyncEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)>, Task> send, CancellationToken cancellation) => send(PiecesAsync(cancellation));

    public void Dispose()
    {
        foreach ((_, NativeBuffer copy) in _vectors) copy.Dispose();
    }

    private async IAsyncEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)> PiecesAsync([EnumeratorCancellation] CancellationToken cancellation)
    {
        await Task.Yield();
        foreach ((string name, NativeBuffer copy) in _vectors)
        {
            foreach (Bucket bucket in _state.Partition.Buckets)
            {
                cancellation.ThrowIfCancellationRequested();
                yield return (new(Term, Version, _state.Partition.Index, name, bucket.Offset), PieceOf(copy, bucket));
            }
        }
    }

    private unsafe NativeSpan PieceOf(NativeBuffer copy, Bucket bucket) =>
        new((nint)(copy.Pointer + (bucket.Offset - _state.Partition.Offset)), bucket.Length);
}
