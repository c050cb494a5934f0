using System.Buffers;

namespace DistTrain.Transport.Grpc;

/// <summary>A range of native memory, owned by somebody else and alive for as long as the operation that it is given to.</summary>
/// <param name="Address">The first byte.</param>
/// <param name="Length">Bytes.</param>
public readonly record struct NativeBytes(nint Address, int Length)
{
    /// <summary>The bytes.</summary>
    public unsafe Span<byte> Span => new((void*)Address, Length);
}

/// <summary>Where a payload goes: native or managed memory of the payload's length, or nowhere.</summary>
public readonly struct PayloadTarget
{
    /// <summary>The payload goes to native memory.</summary>
    public PayloadTarget(NativeBytes bytes) => (Native, Accepts) = (bytes, true);

    /// <summary>The payload goes to managed memory.</summary>
    public PayloadTarget(Memory<byte> bytes) => (Managed, Accepts) = (bytes, true);

    /// <summary>The payload is read over and forgotten.</summary>
    public static PayloadTarget Drop => default;

    internal NativeBytes Native { get; }

    internal Memory<byte> Managed { get; }

    internal bool Accepts { get; }
}

/// <summary>
/// Native memory as <see cref="Memory{T}"/> for the streams underneath. One per reader or writer, pointed at a new range
/// for each message: what it handed out before must no longer be in use.
/// </summary>
internal sealed unsafe class NativeWindow : MemoryManager<byte>
{
    private NativeBytes _bytes;

    public Memory<byte> Over(NativeBytes bytes)
    {
        _bytes = bytes;
        return CreateMemory(bytes.Length);
    }

    public override Span<byte> GetSpan() => _bytes.Span;

    public override MemoryHandle Pin(int elementIndex = 0) => new((byte*)_bytes.Address + elementIndex);

    public override void Unpin()
    {
    }

    protected override void Dispose(bool disposing)
    {
    }
}
