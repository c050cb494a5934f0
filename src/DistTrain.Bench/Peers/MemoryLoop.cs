using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Bench.Peers;

/// <summary>
/// The most bytes a second that this core moves, in the same mix of reads and writes as the kernel beside it: plain loops
/// that do no more than an addition for each value, the better of two ways of fetching.
/// </summary>
internal static unsafe class MemoryLoop
{
    private const int Ahead = 512;

    /// <summary>w, m and v += g: reads four arrays and writes three of them back.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Update(float* g, float* w, float* m, float* v, nint length)
    {
        for (nint i = 0; i + 16 <= length; i += 16)
        {
            if (Sse.IsSupported)
            {
                Sse.Prefetch0(g + i + Ahead);
                Sse.Prefetch0(w + i + Ahead);
                Sse.Prefetch0(m + i + Ahead);
                Sse.Prefetch0(v + i + Ahead);
            }
            Vector512<float> x = Vector512.Load(g + i);
            (Vector512.Load(w + i) + x).Store(w + i);
            (Vector512.Load(m + i) + x).Store(m + i);
            (Vector512.Load(v + i) + x).Store(v + i);
        }
    }

    /// <summary>sum = the sum of eight arrays that lie <paramref name="distance"/> floats apart; the sum is aligned to 64 bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Sum8(float* first, nint distance, float* sum, nint length)
    {
        for (nint i = 0; i + 16 <= length; i += 16)
        {
            float* p = first + i;
            Vector512<float> s = Vector512<float>.Zero;
            for (int k = 0; k < 8; k++, p += distance)
            {
                if (Sse.IsSupported) Sse.Prefetch0(p + (Ahead / 2));
                s += Vector512.Load(p);
            }
            s.StoreAlignedNonTemporal(sum + i);
        }
    }
}
