using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>
/// Images that a convolution's pass reads: as they lie in memory, or, for a gradient behind <see cref="MaxPool2"/>, as the
/// pooled gradient and the taps say, without the whole map ever being written.
/// </summary>
internal unsafe struct ConvSource
{
    /// <summary>(examples, height, width, channels), or the pooled gradient (examples, height / 2, width / 2, channels).</summary>
    public float* Values;

    /// <summary>Like the pooled gradient: what <see cref="MaxPool2"/> left; null where the values are the map itself.</summary>
    public float* Taps;

    public int Height;
    public int Width;
    public int Channels;

    /// <summary>Copies a window of an example's map, +0 where it leaves the map.</summary>
    /// <param name="example">Which.</param>
    /// <param name="top">The map's row that is the window's first; may be negative.</param>
    /// <param name="left">The map's column that is the window's first; may be negative.</param>
    /// <param name="rows">Rows of the window.</param>
    /// <param name="columns">Columns of the window.</param>
    /// <param name="to">Receives rows·columns·channels floats.</param>
    public readonly void Copy<T>(nint example, int top, int left, int rows, int columns, float* to)
        where T : struct, ILanes<T>
    {
        if (Taps == null)
        {
            PaddedCopy.Run(Values + (example * Height * Width * Channels), Height, Width, Channels, top, left, rows, columns, to, Channels);
            return;
        }
        int high = Height / 2, wide = Width / 2;
        nint image = example * high * wide * Channels;
        nint pitch = (nint)columns * Channels;
        for (int row = 0; row < rows; row++, to += pitch)
        {
            int y = top + row;
            if (y < 0 || y >= 2 * high)
            {
                Clear(to, pitch);
                continue;
            }
            // The first and the last column of the window that a window of the pooling has.
            int first = Math.Clamp(-left, 0, columns);
            int last = Math.Clamp((2 * wide) - left, first, columns);
            Clear(to, (nint)first * Channels);
            Clear(to + ((nint)last * Channels), (nint)(columns - last) * Channels);
            nint line = image + ((nint)(y / 2) * wide * Channels);
            Spread<T>(Values + line, Taps + line, left, first, last, to, 2 * (y & 1));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Spread<T>(float* dy, float* taps, int left, int first, int last, float* to, int tap)
        where T : struct, ILanes<T>
    {
        int channels = Channels;
        T even = T.Broadcast(tap), odd = T.Broadcast(tap + 1);
        for (int column = first; column < last;)
        {
            int x = left + column;
            bool both = (x & 1) == 0 && column + 1 < last;
            nint from = (nint)(x >> 1) * channels;
            float* target = to + ((nint)column * channels);
            T one = (x & 1) == 0 ? even : odd;
            int c = 0;
            for (; c <= channels - 16; c += 16)
            {
                T g = T.Load(dy + from + c), t = T.Load(taps + from + c);
                T.Store(target + c, T.And(T.Equal(t, one), g));
                if (both) T.Store(target + channels + c, T.And(T.Equal(t, odd), g));
            }
            if (c < channels)
            {
                int rest = channels - c;
                T g = T.LoadPartial(dy + from + c, rest), t = T.LoadPartial(taps + from + c, rest);
                T.StorePartial(target + c, T.And(T.Equal(t, one), g), rest);
                if (both) T.StorePartial(target + channels + c, T.And(T.Equal(t, odd), g), rest);
            }
            column += both ? 2 : 1;
        }
    }

    private static void Clear(float* to, nint length)
    {
        if (length > 0) Unsafe.InitBlockUnaligned(to, 0, checked((uint)(length * sizeof(float))));
    }
}
