using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Google.Protobuf;

namespace DistTrain.Transport.Grpc;

/// <summary>
/// Takes messages out of a body: 1 byte flag, 4 bytes length (big-endian), the message. Lengths are checked before memory
/// is taken, and memory follows what has come. Errors in the bytes are <see cref="GrpcException"/>; what the body itself throws passes through.
/// </summary>
internal sealed class MessageDecoder<T>(ByteSource source, int maxSize, bool gzip) : IDisposable
    where T : class, IMessage<T>, new()
{
    private const int PrefixLength = 5;
    private readonly MessageCodec<T> _codec = MessageCodec<T>.Instance;
    private readonly NativeWindow _window = new();
    private byte[]? _scratch;
    private bool _compressed;
    private int _length;

    /// <summary>The next message, or null at the end.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<T?> ReadAsync(CancellationToken cancellation) =>
        await ReadPrefixAsync(cancellation) ? await ReadWholeAsync(cancellation) : null;

    /// <summary>The next message, its payload through a sink; false at the end.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<bool> ReadAsync(IPayloadSink<T> sink, CancellationToken cancellation)
    {
        _codec.RequirePayloadField();
        if (!await ReadPrefixAsync(cancellation)) return false;
        var scanner = new PayloadScanner(_codec.PayloadTag, _length);
        ScanResult result = _compressed ? ScanResult.General : ScanResult.NeedMore;
        while (result == ScanResult.NeedMore)
        {
            int have = (int)Math.Min(Math.Min(source.Buffered.Length, _length), ByteSource.Window);
            result = scanner.Scan(Head(have));
            if (result != ScanResult.NeedMore) break;
            if (have == ByteSource.Window || have == _length) result = ScanResult.General;
            else if (!await source.FillAsync(cancellation)) throw FrameErrors.Truncated();
        }

        if (result == ScanResult.Payload)
        {
            T header = _codec.Parse(source.Buffered.Slice(0, scanner.HeaderLength));
            source.Consume(scanner.PayloadStart);
            await ReceivePayloadAsync(sink, header, _length - scanner.PayloadStart, cancellation);
        }
        else
        {
            T message = await ReadWholeAsync(cancellation);
            ByteString payload = _codec.Payload(message);
            _codec.ClearPayload(message);
            await DeliverAsync(sink, message, payload, cancellation);
        }

        return true;
    }

    /// <summary>Reads the end of the body; a further message is an error.</summary>
    public async ValueTask ReadEndAsync(string what, CancellationToken cancellation)
    {
        if (await ReadPrefixAsync(cancellation)) throw new GrpcException(GrpcStatusCode.Unimplemented, $"more than one {what} came to a method that has one");
    }

    public void Dispose()
    {
        source.Dispose();
        if (_scratch is not null) ArrayPool<byte>.Shared.Return(_scratch);
        _scratch = null;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<bool> ReadPrefixAsync(CancellationToken cancellation)
    {
        while (source.Buffered.Length < PrefixLength)
        {
            if (await source.FillAsync(cancellation)) continue;
            return source.Buffered.IsEmpty ? false : throw FrameErrors.Truncated();
        }

        Span<byte> prefix = stackalloc byte[PrefixLength];
        source.Buffered.Slice(0, PrefixLength).CopyTo(prefix);
        source.Consume(PrefixLength);
        if (prefix[0] > 1) throw FrameErrors.BadFlag(prefix[0]);
        _compressed = prefix[0] == 1;
        if (_compressed && !gzip) throw FrameErrors.UnexpectedCompression();
        uint length = BinaryPrimitives.ReadUInt32BigEndian(prefix[1..]);
        if (length > maxSize) throw FrameErrors.TooLarge($"a message of {length} bytes came, more", maxSize);
        _length = (int)length;
        return true;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<T> ReadWholeAsync(CancellationToken cancellation)
    {
        while (!_compressed && source.Buffered.Length < _length && _length <= ByteSource.Window)
        {
            if (!await source.FillAsync(cancellation)) throw FrameErrors.Truncated();
        }

        if (!_compressed && source.Buffered.Length >= _length)
        {
            T message = _codec.Parse(source.Buffered.Slice(0, _length));
            source.Consume(_length);
            return message;
        }

        using var bytes = new PooledBytes(_length);
        while (bytes.Length < _length)
        {
            int count = await source.ReadAsync(bytes.Free(), cancellation);
            if (count == 0) throw FrameErrors.Truncated();
            bytes.Advance(count);
        }

        if (!_compressed) return _codec.Parse(new(bytes.Written));
        using PooledBytes inflated = Gzip.Decompress(bytes.Written, maxSize);
        return _codec.Parse(new(inflated.Written));
    }

    /// <summary>The message's first bytes in one piece.</summary>
    private ReadOnlySpan<byte> Head(int length)
    {
        ReadOnlySequence<byte> head = source.Buffered.Slice(0, length);
        if (head.IsSingleSegment) return head.FirstSpan;
        _scratch ??= ArrayPool<byte>.Shared.Rent(ByteSource.Window);
        head.CopyTo(_scratch);
        return _scratch.AsSpan(0, length);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask ReceivePayloadAsync(IPayloadSink<T> sink, T header, int length, CancellationToken cancellation)
    {
        PayloadTarget target = await sink.BeginAsync(header, length, cancellation);
        if (!target.Accepts)
        {
            await SkipAsync(length, cancellation);
            return;
        }

        try
        {
            Memory<byte> rest = MemoryOf(target, length);
            while (!rest.IsEmpty)
            {
                int count = await source.ReadAsync(rest, cancellation);
                if (count == 0) throw FrameErrors.Truncated();
                rest = rest[count..];
            }
        }
        catch
        {
            sink.Abort(header);
            throw;
        }

        await sink.CompleteAsync(header, cancellation);
    }

    private async ValueTask DeliverAsync(IPayloadSink<T> sink, T header, ByteString payload, CancellationToken cancellation)
    {
        PayloadTarget target = await sink.BeginAsync(header, payload.Length, cancellation);
        if (!target.Accepts) return;
        try
        {
            payload.Span.CopyTo(MemoryOf(target, payload.Length).Span);
        }
        catch
        {
            sink.Abort(header);
            throw;
        }

        await sink.CompleteAsync(header, cancellation);
    }

    private async ValueTask SkipAsync(int length, CancellationToken cancellation)
    {
        while (length > 0)
        {
            int count = (int)Math.Min(length, source.Buffered.Length);
            if (count == 0 && !await source.FillAsync(cancellation)) throw FrameErrors.Truncated();
            source.Consume(count);
            length -= count;
        }
    }

    private Memory<byte> MemoryOf(PayloadTarget target, int length)
    {
        Memory<byte> memory = target.Native.Length > 0 ? _window.Over(target.Native) : target.Managed;
        return memory.Length == length ? memory : throw new InvalidOperationException($"a sink gave {memory.Length} bytes for a payload of {length}");
    }
}
