using System.IO.Compression;

namespace DistTrain.Transport.Grpc;

/// <summary>The one compression that travels besides none.</summary>
internal static class Gzip
{
    public const string Name = "gzip";
    public const string Accepted = "identity,gzip";

    public static void Compress(ReadOnlySpan<byte> bytes, Stream destination)
    {
        using var gzip = new GZipStream(destination, CompressionLevel.Fastest, leaveOpen: true);
        gzip.Write(bytes);
    }

    /// <summary>Inflates at most <paramref name="limit"/> bytes, so a small message that swells beyond it costs no more memory than an honest one.</summary>
    public static PooledBytes Decompress(ReadOnlyMemory<byte> bytes, int limit)
    {
        var result = new PooledBytes(limit);
        try
        {
            using var gzip = new GZipStream(new ReadOnlyMemoryStream(bytes), CompressionMode.Decompress);
            Span<byte> one = stackalloc byte[1];
            while (true)
            {
                Memory<byte> free = result.Free();
                if (free.IsEmpty && gzip.Read(one) > 0) throw FrameErrors.TooLarge("a message inflates to more", limit);
                int count = free.IsEmpty ? 0 : gzip.Read(free.Span);
                if (count == 0) return result;
                result.Advance(count);
            }
        }
        catch (Exception e)
        {
            result.Dispose();
            if (e is InvalidDataException or EndOfStreamException) throw new GrpcException(GrpcStatusCode.Internal, "a message marked as gzip is none", e);
            throw;
        }
    }
}
