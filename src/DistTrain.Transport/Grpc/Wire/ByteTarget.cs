using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;

namespace DistTrain.Transport.Grpc;

/// <summary>Where the bytes of a body go.</summary>
internal abstract class ByteTarget
{
    /// <summary>Writes; nothing of <paramref name="bytes"/> is in use any more when it completes. Unless <paramref name="more"/> follows, it goes out at once.</summary>
    public abstract ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, bool more, CancellationToken cancellation);
}

/// <summary>A response body at the server.</summary>
internal sealed class PipeTarget(PipeWriter writer) : ByteTarget
{
    /// <summary>Bytes between two looks at the peer's appetite.</summary>
    private const int Slice = 64 * 1024;

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, bool more, CancellationToken cancellation)
    {
        if (more && bytes.Length <= Slice)
        {
            writer.Write(bytes.Span);
            return;
        }

        do
        {
            int count = Math.Min(Slice, bytes.Length);
            FlushResult result = await writer.WriteAsync(bytes[..count], cancellation);
            if (result.IsCompleted || result.IsCanceled) throw new IOException("the client reads no more");
            bytes = bytes[count..];
        }
        while (!bytes.IsEmpty);
    }
}

/// <summary>A request body at the client.</summary>
internal sealed class StreamTarget(Stream stream) : ByteTarget
{
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, bool more, CancellationToken cancellation)
    {
        await stream.WriteAsync(bytes, cancellation);
        if (!more) await stream.FlushAsync(cancellation);
    }
}
