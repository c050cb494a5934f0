using System.Runtime.InteropServices;

namespace DistTrain.Kernels;

/// <summary>
/// A block of native fp32 memory, aligned to 64 bytes (one cache line, one 512-bit vector) and zeroed when made.
/// It belongs to whoever made it and is given back by <see cref="Dispose"/>, or by the finalizer when that is
/// forgotten. Pointers into it are valid until then; keep the buffer reachable while they are used.
/// </summary>
public sealed unsafe class NativeBuffer : IDisposable
{
    /// <summary>The alignment of every buffer, in bytes.</summary>
    public const int Alignment = 64;

    [ThreadStatic]
    private static long _takenByThread;

    private float* _pointer;

    /// <summary>Allocates room for <paramref name="length"/> floats, all +0.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The length is negative or the size in bytes overflows.</exception>
    /// <exception cref="OutOfMemoryException">The memory can't be had.</exception>
    public NativeBuffer(long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, (nint.MaxValue - Alignment) / sizeof(float));
        Length = length;
        // A whole number of lines, so that neighbouring buffers never share one.
        nuint bytes = (((nuint)length * sizeof(float)) + (Alignment - 1)) & ~(nuint)(Alignment - 1);
        _pointer = (float*)NativeMemory.AlignedAlloc(Math.Max(bytes, Alignment), Alignment);
        NativeMemory.Clear(_pointer, bytes);
        _takenByThread += (long)bytes;
    }

#pragma warning disable MA0055 // The finalizer is the safety net for native memory.
    /// <summary>Gives the memory back when <see cref="Dispose"/> was not called.</summary>
    ~NativeBuffer() => Free();
#pragma warning restore MA0055

    /// <summary>Bytes that this thread has taken for buffers so far, given back or not.</summary>
    internal static long TakenByThread => _takenByThread;

    /// <summary>How many floats the buffer holds.</summary>
    public long Length { get; }

    /// <summary>The first float.</summary>
    /// <exception cref="ObjectDisposedException">The buffer was disposed.</exception>
    public float* Pointer
    {
        get
        {
            if (_pointer == null) ThrowDisposed();
            return _pointer;
        }
    }

    /// <summary>The buffer as a span.</summary>
    /// <exception cref="OverflowException">It holds more floats than a span can.</exception>
    public Span<float> Span => new(Pointer, checked((int)Length));

    /// <summary>Sets every float to +0.</summary>
    public void Clear() => NativeMemory.Clear(Pointer, (nuint)Length * sizeof(float));

    /// <summary>Gives the memory back. Calling it again does nothing.</summary>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        float* pointer = _pointer;
        _pointer = null;
        if (pointer != null) NativeMemory.AlignedFree(pointer);
    }

    private static void ThrowDisposed() => throw new ObjectDisposedException(nameof(NativeBuffer));
}
