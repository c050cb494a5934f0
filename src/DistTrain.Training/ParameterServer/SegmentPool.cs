using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Training.ParameterServer;

/// <summary>
/// Native buffers for segments, one free list for each bucket length. Thread-safe: channels rent, the server releases.
/// </summary>
/// <param name="share">Whether buffers lie in memory that other processes can map.</param>
internal sealed class SegmentPool(bool share = false) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly Dictionary<int, Stack<Buffer>> _free = [];
    private readonly bool _share = share;
    private bool _disposed;

    public ISegmentBuffer Rent(int length)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_free.TryGetValue(length, out Stack<Buffer>? free) && free.TryPop(out Buffer? buffer)) return buffer;
        }

        return new Buffer(this, length);
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            foreach (Stack<Buffer> free in _free.Values)
            {
                foreach (Buffer buffer in free) buffer.Free();
            }

            _free.Clear();
        }
    }

    private void Return(Buffer buffer)
    {
        lock (_lock)
        {
            if (_disposed)
            {
                buffer.Free();
                return;
            }

            if (!_free.TryGetValue(buffer.Elements.Length, out Stack<Buffer>? free)) _free[buffer.Elements.Length] = free = new();
            free.Push(buffer);
        }
    }

    /// <summary>What was packed into a segment, which is released; null for what nobody can have packed.</summary>
    public unsafe ISegmentBuffer? Unpacked(WireFormat wire, ISegmentBuffer segment, Bucket bucket)
    {
        if (wire.IsExact || (wire.HoldsBack && segment.Elements.Length == bucket.Length)) return segment;
        ISegmentBuffer values = Rent(bucket.Length);
        bool good = wire.Unpack(segment.Elements, (float*)values.Elements.Address, bucket);
        segment.Release();
        if (good) return values;
        values.Release();
        return null;
    }

    private sealed unsafe class Buffer : ISegmentBuffer
    {
        private readonly SegmentPool _pool;
        private readonly TensorMemory _memory;

        public Buffer(SegmentPool pool, int length)
        {
            _pool = pool;
            _memory = new TensorMemory(length, pool._share);
            Elements = new NativeSpan((nint)_memory.Pointer, length);
        }

        public NativeSpan Elements { get; }

        public bool Writable => true;

        public void Release() => _pool.Return(this);

        public void Free() => _memory.Dispose();
    }
}
