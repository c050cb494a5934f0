using System.Buffers.Binary;
using DistTrain.Transport.Grpc;
using Google.Protobuf;

namespace DistTrain.Fuzz;

/// <summary>Streams of gRPC frames: how they are made, and how they come in pieces.</summary>
internal static class Frames
{
    /// <summary>What a message may have at most here, far below what is allowed in earnest: so that the limit is met.</summary>
    public const int MaxSize = 256 << 10;

    private const int PrefixLength = 5;

    /// <summary>Honest and damaged messages, framed; now and then the frames are damaged too.</summary>
    public static byte[] Make(FuzzRandom random, int most, bool gzip, Func<byte[]> message)
    {
        using var stream = new MemoryStream();
        for (int count = random.Next(most + 1); count > 0; count--) stream.Write(Frame(random, message(), gzip));
        byte[] bytes = stream.ToArray();
        return random.Chance(0.05) ? ByteMutator.Mutate(random, bytes, bytes) : bytes;
    }

    /// <summary>Damages a message, or leaves it as it is.</summary>
    public static byte[] Damaged(FuzzRandom random, IMessage message, double share = 0.5) =>
        random.Chance(share) ? ProtoMutator.Mutate(random, message.ToByteArray()) : message.ToByteArray();

    private static byte[] Frame(FuzzRandom random, byte[] message, bool gzip)
    {
        bool compressed = gzip && random.Chance(0.5);
        if (compressed)
        {
            using var packed = new MemoryStream();
            Gzip.Compress(random.Chance(0.02) ? new byte[random.Next(4 * MaxSize)] : message, packed);
            message = packed.ToArray();
            if (random.Chance(0.1)) message = ByteMutator.Mutate(random, message, message);
        }

        byte[] frame = [compressed ? (byte)1 : (byte)0, 0, 0, 0, 0, .. message];
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(1), random.Chance(0.02) ? (uint)random.Extreme() : (uint)(frame.Length - PrefixLength));
        if (random.Chance(0.01)) frame[0] = (byte)random.Next(256);
        return frame;
    }
}

/// <summary>Bytes that come in pieces of any size, as <paramref name="seed"/> has it.</summary>
internal sealed class Pieces(ReadOnlyMemory<byte> bytes, ulong seed) : Stream
{
    private readonly FuzzRandom _random = new(seed, "pieces", 0);
    private ReadOnlyMemory<byte> _rest = bytes;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override int Read(Span<byte> buffer)
    {
        int count = Math.Min(Math.Min(buffer.Length, _rest.Length), seed == 0 ? int.MaxValue : 1 + _random.Length(5000));
        _rest.Span[..count].CopyTo(buffer);
        _rest = _rest[count..];
        return count;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => Task.FromResult(Read(buffer.AsSpan(offset, count)));

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => new(Read(buffer.Span));

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
