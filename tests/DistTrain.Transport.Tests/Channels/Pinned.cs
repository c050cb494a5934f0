using System.Runtime.InteropServices;
using DistTrain.Core.Channels;
using DistTrain.Core.Memory;

namespace DistTrain.Transport.Tests.Channels;

/// <summary>Floats at a fixed address, in memory of this process alone or such as others can map.</summary>
internal sealed class Pinned
{
    private readonly float[] _own = [];
    private readonly SharedRegion? _region;

    public Pinned(int length, bool shared = false)
    {
        if (shared) _region = SharedRegion.Create(Math.Max(length, 1) * sizeof(float)) ?? throw new InvalidOperationException("no shared memory here");
        else _own = GC.AllocateArray<float>(length, pinned: true);
        Span = length == 0 ? default : new(_region?.Address ?? Marshal.UnsafeAddrOfPinnedArrayElement(_own, 0), length);
    }

    public Span<float> Values => Span.Span;

    public NativeSpan Span { get; }

    /// <summary>Any bits at all: NaNs with payloads, negative zeros and denormals among them.</summary>
    public static Pinned Random(int length, int seed, bool shared = false)
    {
        var pinned = new Pinned(length, shared);
        new Random(seed).NextBytes(MemoryMarshal.AsBytes(pinned.Values));
        return pinned;
    }

    public static int[] Bits(ReadOnlySpan<float> values) => MemoryMarshal.Cast<float, int>(values).ToArray();
}
