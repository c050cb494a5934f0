using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Google.Protobuf;

namespace DistTrain.Transport.Grpc;

/// <summary>Puts messages into a body. The counterpart of <see cref="MessageDecoder{T}"/>.</summary>
internal sealed class MessageEncoder<T>(int maxSize, bool gzip)
    where T : class, IMessage<T>, new()
{
    private const int PrefixLength = 5;
    private readonly MessageCodec<T> _codec = MessageCodec<T>.Instance;
    private readonly NativeWindow _window = new();

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WriteAsync(ByteTarget target, T message, CancellationToken cancellation)
    {
        if (gzip)
        {
            await target.WriteAsync(Compressed(message), more: false, cancellation);
            return;
        }

        int size = Check(message.CalculateSize());
        byte[] frame = ArrayPool<byte>.Shared.Rent(PrefixLength + size);
        try
        {
            Write(frame, message, size);
            await target.WriteAsync(frame.AsMemory(0, PrefixLength + size), more: false, cancellation);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(frame);
        }
    }

    public ValueTask WriteAsync(ByteTarget target, T header, NativeBytes payload, CancellationToken cancellation) =>
        WriteAsync(target, header, payload.Length == 0 ? default : (ReadOnlyMemory<byte>)_window.Over(payload), cancellation);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WriteAsync(ByteTarget target, T header, ReadOnlyMemory<byte> payload, CancellationToken cancellation)
    {
        _codec.RequirePayloadField();
        if (!_codec.Payload(header).IsEmpty) throw new ArgumentException($"the payload field of the {_codec.Descriptor.Name} must be empty: its bytes come as an argument", nameof(header));

        int headerSize = header.CalculateSize();
        int fieldSize = payload.IsEmpty ? 0 : Varint.Length(_codec.PayloadTag) + Varint.Length((uint)payload.Length);
        int size = Check((long)headerSize + fieldSize + payload.Length);
        int headSize = PrefixLength + headerSize + fieldSize;
        byte[] head = ArrayPool<byte>.Shared.Rent(headSize);
        try
        {
            WritePrefix(head, size, compressed: false);
            header.WriteTo(head.AsSpan(PrefixLength, headerSize));
            if (!payload.IsEmpty)
            {
                int at = PrefixLength + headerSize;
                at += Varint.Write(head.AsSpan(at), _codec.PayloadTag);
                Varint.Write(head.AsSpan(at), (uint)payload.Length);
            }

            await target.WriteAsync(head.AsMemory(0, headSize), more: !payload.IsEmpty, cancellation);
            if (!payload.IsEmpty) await target.WriteAsync(payload, more: false, cancellation);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(head);
        }
    }

    /// <summary>The whole frame as an array of its own.</summary>
    public ReadOnlyMemory<byte> Frame(T message)
    {
        if (gzip) return Compressed(message);
        int size = Check(message.CalculateSize());
        byte[] frame = new byte[PrefixLength + size];
        Write(frame, message, size);
        return frame;
    }

    private ReadOnlyMemory<byte> Compressed(T message)
    {
        Check(message.CalculateSize());
        var frame = new MemoryStream();
        frame.SetLength(PrefixLength);
        frame.Position = PrefixLength;
        Gzip.Compress(message.ToByteArray(), frame);
        Memory<byte> bytes = frame.GetBuffer().AsMemory(0, (int)frame.Length);
        WritePrefix(bytes.Span, bytes.Length - PrefixLength, compressed: true);
        return bytes;
    }

    private static void Write(byte[] frame, T message, int size)
    {
        WritePrefix(frame, size, compressed: false);
        message.WriteTo(frame.AsSpan(PrefixLength, size));
    }

    private static void WritePrefix(Span<byte> frame, int size, bool compressed)
    {
        frame[0] = compressed ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt32BigEndian(frame[1..], (uint)size);
    }

    private int Check(long size) => size <= maxSize ? (int)size : throw FrameErrors.TooLarge($"a message of {size} bytes is to be sent, more", maxSize);
}
