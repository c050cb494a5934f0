using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace DistTrain.Kernels;

/// <summary>
/// Brings what the next unit of work reads into the L2 cache, a few lines with each tile of this one, so that memory
/// and arithmetic work at the same time. Reaching beyond the data does no harm.
/// </summary>
internal unsafe struct Prefetcher
{
    private const int Line = 64;

    // With more than this for a tile, prefetching would be a stage of its own, and the hardware's is better.
    private const int MostFloats = 48 * 16;

    private byte* _first;
    private byte* _firstEnd;
    private byte* _second;
    private byte* _secondEnd;
    private nint _firstStep;
    private nint _secondStep;

    /// <summary>Spreads one or two blocks of floats over <paramref name="tiles"/> tiles.</summary>
    public Prefetcher(float* first, nint firstLength, float* second, nint secondLength, nint tiles)
    {
        if (!Sse.IsSupported || firstLength + secondLength > MostFloats * tiles) return;
        _first = (byte*)first;
        _firstEnd = (byte*)(first + firstLength);
        _firstStep = Step(firstLength, tiles);
        _second = (byte*)second;
        _secondEnd = (byte*)(second + secondLength);
        _secondStep = Step(secondLength, tiles);
    }

    /// <summary>Does one tile's share.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Tile()
    {
        if (!Sse.IsSupported) return;
        byte* end = Min(_first + _firstStep, _firstEnd);
        for (; _first < end; _first += Line) Sse.Prefetch1(_first);
        end = Min(_second + _secondStep, _secondEnd);
        for (; _second < end; _second += Line) Sse.Prefetch1(_second);
    }

    private static nint Step(nint length, nint tiles) =>
        (((length * sizeof(float)) + (tiles * Line) - 1) / (tiles * Line)) * Line;

    private static byte* Min(byte* a, byte* b) => a < b ? a : b;
}
