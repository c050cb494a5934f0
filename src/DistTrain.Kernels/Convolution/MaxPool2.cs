using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Max pooling of 2x2 windows, 2 apart, at the end of a convolution: as <see cref="Pooling.Max"/> has it, a window's first
/// largest in (y, x) order, a NaN above any number. Beside each maximum it leaves which of the four pixels it was, as a
/// float: 0 to 3; where a ReLU's output is not above zero, so that no gradient goes back, 4.
/// </summary>
internal static unsafe class MaxPool2
{
    /// <summary>The tap that stands for none.</summary>
    public const float Nowhere = 4;

    /// <summary>One window's maximum and its tap.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Window<T>(T y00, T y01, T y10, T y11, bool relu, out T tap)
        where T : struct, ILanes<T>
    {
        T best = y00;
        tap = T.Zero;
        Next(ref best, ref tap, y01, 1);
        Next(ref best, ref tap, y10, 2);
        Next(ref best, ref tap, y11, 3);
        if (relu) tap = T.Select(T.LessThan(T.Zero, best), tap, T.Broadcast(Nowhere));
        return best;
    }

    /// <summary>Pools rows of a map.</summary>
    /// <param name="map">(2·rows or more, width, channels).</param>
    /// <param name="rows">Rows of windows.</param>
    /// <param name="width">Pixels of a row of the map.</param>
    /// <param name="channels">Floats of a pixel.</param>
    /// <param name="relu">Whether the map is a ReLU's output.</param>
    /// <param name="y">(rows, width / 2, channels).</param>
    /// <param name="taps">Like y; null for none.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rows<T>(float* map, int rows, int width, int channels, bool relu, float* y, float* taps)
        where T : struct, ILanes<T>
    {
        nint pitch = (nint)width * channels;
        for (int row = 0; row < rows; row++, map += 2 * pitch)
        {
            float* from = map;
            for (int x = width / 2; x > 0; x--, from += 2 * channels)
            {
                int c = 0;
                for (; c <= channels - 16; c += 16)
                {
                    float* at = from + c;
                    T best = Window(T.Load(at), T.Load(at + channels), T.Load(at + pitch), T.Load(at + pitch + channels), relu, out T tap);
                    T.Store(y + c, best);
                    if (taps != null) T.Store(taps + c, tap);
                }
                if (c < channels)
                {
                    float* at = from + c;
                    int rest = channels - c;
                    T best = Window(
                        T.LoadPartial(at, rest), T.LoadPartial(at + channels, rest), T.LoadPartial(at + pitch, rest), T.LoadPartial(at + pitch + channels, rest),
                        relu, out T tap);
                    T.StorePartial(y + c, best, rest);
                    if (taps != null) T.StorePartial(taps + c, tap, rest);
                }
                y += channels;
                if (taps != null) taps += channels;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Next<T>(ref T best, ref T tap, T value, float place)
        where T : struct, ILanes<T>
    {
        // A NaN is taken whatever was best.
        T better = T.Or(T.LessThan(best, value), T.Xor(T.Equal(value, value), T.BroadcastBits(-1)));
        best = T.Select(better, value, best);
        tap = T.Select(better, T.Broadcast(place), tap);
    }
}
