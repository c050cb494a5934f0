using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;

namespace DistTrain.Transport.Grpc;

/// <summary>The bytes of a body as they come: some buffered and looked at in place, the rest read straight to where they belong.</summary>
internal abstract class ByteSource : IDisposable
{
    /// <summary>How many bytes can always be buffered.</summary>
    public const int Window = 8 * 1024;

    /// <summary>What has come and isn't consumed. Valid until the next call of another member.</summary>
    public abstract ReadOnlySequence<byte> Buffered { get; }

    /// <summary>Waits until more is buffered; false when nothing more comes. Asked only while less than the window is buffered.</summary>
    public abstract ValueTask<bool> FillAsync(CancellationToken cancellation);

    /// <summary>Consumes buffered bytes.</summary>
    public abstract void Consume(int count);

    /// <summary>Copies at least one byte and at most <paramref name="destination"/>'s length, and consumes them; 0 at the end.</summary>
    public abstract ValueTask<int> ReadAsync(Memory<byte> destination, CancellationToken cancellation);

    public virtual void Dispose()
    {
    }

    private protected int TakeBuffered(Memory<byte> destination)
    {
        ReadOnlySequence<byte> buffered = Buffered;
        int count = (int)Math.Min(buffered.Length, destination.Length);
        buffered.Slice(0, count).CopyTo(destination.Span);
        Consume(count);
        return count;
    }
}

/// <summary>A request body at the server.</summary>
internal sealed class PipeSource(PipeReader reader) : ByteSource
{
    private ReadOnlySequence<byte> _buffer;
    private bool _held;

    public override ReadOnlySequence<byte> Buffered => _buffer;

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<bool> FillAsync(CancellationToken cancellation)
    {
        long before = _buffer.Length;
        while (true)
        {
            if (_held) reader.AdvanceTo(_buffer.Start, _buffer.End);
            _held = false;
            ReadResult result = await reader.ReadAsync(cancellation);
            (_buffer, _held) = (result.Buffer, true);
            if (_buffer.Length > before) return true;
            if (result.IsCompleted) return false;
        }
    }

    public override void Consume(int count) => _buffer = _buffer.Slice(count);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<int> ReadAsync(Memory<byte> destination, CancellationToken cancellation) =>
        !_buffer.IsEmpty || await FillAsync(cancellation) ? TakeBuffered(destination) : 0;
}

/// <summary>A response body at the client. What is read at large goes past the buffer.</summary>
internal sealed class StreamSource(Stream stream) : ByteSource
{
    private byte[] _array = ArrayPool<byte>.Shared.Rent(2 * Window);
    private int _start;
    private int _end;

    public override ReadOnlySequence<byte> Buffered => new(_array, _start, _end - _start);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public override async ValueTask<bool> FillAsync(CancellationToken cancellation)
    {
        if (_start > 0)
        {
            _array.AsSpan(_start, _end - _start).CopyTo(_array);
            (_start, _end) = (0, _end - _start);
        }

        int count = await stream.ReadAsync(_array.AsMemory(_end), cancellation);
        _end += count;
        return count > 0;
    }

    public override void Consume(int count) => _start += count;

    public override ValueTask<int> ReadAsync(Memory<byte> destination, CancellationToken cancellation) =>
        _end > _start ? new(TakeBuffered(destination)) : stream.ReadAsync(destination, cancellation);

    public override void Dispose()
    {
        if (_array.Length > 0) ArrayPool<byte>.Shared.Return(_array);
        (_array, _start, _end) = ([], 0, 0);
    }
}
