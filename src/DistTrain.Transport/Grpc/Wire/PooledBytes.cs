using System.Buffers;

namespace DistTrain.Transport.Grpc;

/// <summary>
/// A growing buffer of pooled memory, at most <paramref name="limit"/> bytes. It doubles only once it is full, so that memory follows
/// what has come and never what was announced.
/// </summary>
internal sealed class PooledBytes(int limit) : IDisposable
{
    private const int FirstSize = 64 * 1024;
    private byte[] _array = ArrayPool<byte>.Shared.Rent(Math.Min(limit, FirstSize));

    public int Length { get; private set; }

    public ReadOnlyMemory<byte> Written => _array.AsMemory(0, Length);

    /// <summary>Room for at least one byte; empty at the limit.</summary>
    public Memory<byte> Free()
    {
        if (Length == _array.Length && Length < limit)
        {
            byte[] larger = ArrayPool<byte>.Shared.Rent((int)Math.Min(limit, 2L * _array.Length));
            _array.AsSpan(0, Length).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_array);
            _array = larger;
        }

        return _array.AsMemory(Length, Math.Min(_array.Length, limit) - Length);
    }

    public void Advance(int count) => Length += count;

    public void Dispose()
    {
        if (_array.Length > 0) ArrayPool<byte>.Shared.Return(_array);
        _array = [];
    }
}
