namespace DistTrain.Kernels;

/// <summary>
/// Scratch memory of the thread that asks: it grows to the largest request and stays, so a steady state allocates
/// nothing. A kernel takes one block and cuts it up; the next request on the same thread gets the same memory.
/// </summary>
internal static unsafe class Workspace
{
    [ThreadStatic]
    private static NativeBuffer? _buffer;

    /// <summary>At least <paramref name="length"/> floats, 64-byte aligned, with anything in them.</summary>
    public static float* Get(nint length)
    {
        NativeBuffer? buffer = _buffer;
        if (buffer is null || buffer.Length < length)
        {
            buffer?.Dispose();
            _buffer = buffer = new NativeBuffer(length + (length / 4));
        }
        return buffer.Pointer;
    }
}
