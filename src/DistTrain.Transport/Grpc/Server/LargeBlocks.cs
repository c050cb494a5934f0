using System.Buffers;
using System.Collections.Concurrent;
using Microsoft.AspNetCore.Connections;

namespace DistTrain.Transport.Grpc;

/// <summary>
/// What Kestrel buffers connections in: blocks of 64 KiB in place of its own of 4 KiB, so that a megabyte is sixteen reads
/// from the socket and not 256. Blocks are pinned and used again.
/// </summary>
internal sealed class LargeBlocks : MemoryPool<byte>, IMemoryPoolFactory<byte>
{
    private const int BlockSize = 64 << 10;

    // What idle blocks may hold together: 16 MiB.
    private const int MostIdle = 256;

    private readonly ConcurrentQueue<Block> _idle = new();

    /// <inheritdoc/>
    public override int MaxBufferSize => BlockSize;

    /// <summary>All connections share one pool.</summary>
    public MemoryPool<byte> Create(MemoryPoolOptions? options = null) => this;

    /// <inheritdoc/>
    public override IMemoryOwner<byte> Rent(int minBufferSize = -1)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(minBufferSize, BlockSize);
        if (!_idle.TryDequeue(out Block? block)) block = new Block(this);
        block.Rent();
        return block;
    }

    /// <summary>Kestrel disposes of what it was given; the blocks go with the last who refers to them.</summary>
    protected override void Dispose(bool disposing)
    {
    }

    private sealed class Block(LargeBlocks pool) : IMemoryOwner<byte>
    {
        private readonly Memory<byte> _memory = GC.AllocateUninitializedArray<byte>(BlockSize, pinned: true);
        private int _rented;

        public Memory<byte> Memory => Volatile.Read(ref _rented) == 1 ? _memory : throw new ObjectDisposedException(nameof(Block));

        public void Rent() => Volatile.Write(ref _rented, 1);

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _rented, 0) == 1 && pool._idle.Count < MostIdle) pool._idle.Enqueue(this);
        }
    }
}
