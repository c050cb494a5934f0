using System.Runtime.InteropServices;
using DistTrain.Core.Channels;

namespace DistTrain.Transport.Tests.Channels;

/// <summary>Floats at a fixed address.</summary>
internal sealed class Pinned(int length)
{
    public float[] Values { get; } = GC.AllocateArray<float>(length, pinned: true);

    public NativeSpan Span => Values.Length == 0 ? default : new(Marshal.UnsafeAddrOfPinnedArrayElement(Values, 0), Values.Length);

    /// <summary>Any bits at all: NaNs with payloads, negative zeros and denormals among them.</summary>
    public static Pinned Random(int length, int seed)
    {
        var pinned = new Pinned(length);
        new Random(seed).NextBytes(MemoryMarshal.AsBytes(pinned.Values.AsSpan()));
        return pinned;
    }

    public static int[] Bits(ReadOnlySpan<float> values) => MemoryMarshal.Cast<float, int>(values).ToArray();
}
