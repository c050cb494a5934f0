using System.Buffers.Binary;
using System.IO.Pipelines;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Tests.Grpc.Echo;
using Google.Protobuf;

namespace DistTrain.Transport.Tests.Grpc;

/// <summary>Frames by hand, and decoders over bytes that come in chosen pieces.</summary>
internal static class Frames
{
    public static byte[] Of(IMessage message, byte flag = 0) => Of(message.ToByteArray(), flag);

    public static byte[] Of(byte[] message, byte flag = 0) => [.. Prefix(flag, (uint)message.Length), .. message];

    public static byte[] Prefix(byte flag, uint length)
    {
        byte[] prefix = new byte[5];
        prefix[0] = flag;
        BinaryPrimitives.WriteUInt32BigEndian(prefix.AsSpan(1), length);
        return prefix;
    }

    public static byte[] Gzip(byte[] bytes)
    {
        var stream = new MemoryStream();
        Transport.Grpc.Gzip.Compress(bytes, stream);
        return stream.ToArray();
    }

    /// <summary>A decoder as the client has it: over a stream that gives the pieces one by one.</summary>
    public static MessageDecoder<Blob> OverStream(IEnumerable<ReadOnlyMemory<byte>> pieces, int maxSize = 1 << 20, bool gzip = false) =>
        new(new StreamSource(new PieceStream(pieces)), maxSize, gzip);

    /// <summary>A decoder as the server has it: over a pipe.</summary>
    public static MessageDecoder<Blob> OverPipe(IEnumerable<ReadOnlyMemory<byte>> pieces, int maxSize = 1 << 20, bool gzip = false) =>
        new(new PipeSource(PipeReader.Create(new PieceStream(pieces), new StreamPipeReaderOptions(bufferSize: 16, minimumReadSize: 1))), maxSize, gzip);

    public static IEnumerable<ReadOnlyMemory<byte>> Split(byte[] bytes, params int[] offsets)
    {
        int start = 0;
        foreach (int offset in offsets.Append(bytes.Length))
        {
            yield return bytes.AsMemory(start, offset - start);
            start = offset;
        }
    }

    public static IEnumerable<ReadOnlyMemory<byte>> Bytewise(byte[] bytes) => Enumerable.Range(0, bytes.Length).Select(i => new ReadOnlyMemory<byte>(bytes, i, 1));

    /// <summary>A stream whose reads give at most one piece, and sometimes complete later.</summary>
    private sealed class PieceStream(IEnumerable<ReadOnlyMemory<byte>> pieces) : MemoryStream
    {
        private readonly Queue<ReadOnlyMemory<byte>> _pieces = new(pieces.Where(p => p.Length > 0));
        private bool _late;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            _late = !_late;
            if (_late) await Task.Yield();
            if (!_pieces.TryDequeue(out ReadOnlyMemory<byte> piece)) return 0;
            int count = Math.Min(buffer.Length, piece.Length);
            piece[..count].CopyTo(buffer);
            if (count < piece.Length)
            {
                ReadOnlyMemory<byte>[] rest = [.. _pieces];
                _pieces.Clear();
                _pieces.Enqueue(piece[count..]);
                foreach (ReadOnlyMemory<byte> later in rest) _pieces.Enqueue(later);
            }

            return count;
        }
    }
}
