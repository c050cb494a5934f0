using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>Copies a window of an image with +0 where the window leaves it, so that nothing behind it knows of borders.</summary>
internal static unsafe class PaddedCopy
{
    /// <summary>Copies (rows, columns, channels) from position (top, left), which may be negative.</summary>
    /// <param name="image">(height, width, channels).</param>
    /// <param name="height">Rows of the image.</param>
    /// <param name="width">Pixels of its rows.</param>
    /// <param name="channels">Floats of a pixel.</param>
    /// <param name="top">The image's row that is the window's first.</param>
    /// <param name="left">The image's column that is the window's first.</param>
    /// <param name="rows">Rows of the window.</param>
    /// <param name="columns">Columns of the window.</param>
    /// <param name="to">Receives rows·columns·pitch floats.</param>
    /// <param name="pitch">Floats of a pixel there; those beyond the channels become +0.</param>
    public static void Run(float* image, int height, int width, int channels, int top, int left, int rows, int columns, float* to, int pitch)
    {
        int first = Math.Clamp(-left, 0, columns);
        int last = Math.Clamp(width - left, first, columns);
        for (int row = 0; row < rows; row++, to += (nint)columns * pitch)
        {
            int y = top + row;
            if (y < 0 || y >= height || first == last)
            {
                Clear(to, (nint)columns * pitch);
                continue;
            }
            float* from = image + ((((nint)y * width) + left + first) * channels);
            Clear(to, (nint)first * pitch);
            if (pitch == channels) Copy(from, to + ((nint)first * pitch), (nint)(last - first) * channels);
            else CopyPixels(from, channels, to + ((nint)first * pitch), pitch, last - first);
            Clear(to + ((nint)last * pitch), (nint)(columns - last) * pitch);
        }
    }

    /// <summary>
    /// The same for some channels of an image: <paramref name="width"/> floats of each pixel, at most 16, one pixel
    /// behind the other. Up to 16 floats behind the block are written too.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Block<T>(float* image, int height, int imageWidth, int channels, int top, int left, int rows, int columns, float* to, int width)
        where T : struct, ILanes<T>
    {
        int first = Math.Clamp(-left, 0, columns);
        int last = Math.Clamp(imageWidth - left, first, columns);
        for (int row = 0; row < rows; row++)
        {
            int y = top + row;
            int real = y < 0 || y >= height ? 0 : last - first;
            int before = real == 0 ? columns : first;
            for (int i = before; i > 0; i--, to += width) T.Store(to, T.Zero);
            float* from = image + ((((nint)y * imageWidth) + left + first) * channels);
            for (int i = real; i > 0; i--, to += width, from += channels) T.Store(to, T.LoadPartial(from, width));
            for (int i = columns - before - real; i > 0; i--, to += width) T.Store(to, T.Zero);
        }
    }

    private static void CopyPixels(float* from, int channels, float* to, int pitch, int count)
    {
        for (; count > 0; count--, from += channels, to += pitch)
        {
            Copy(from, to, channels);
            Clear(to + channels, pitch - channels);
        }
    }

    private static void Copy(float* from, float* to, nint length) =>
        Buffer.MemoryCopy(from, to, length * sizeof(float), length * sizeof(float));

    private static void Clear(float* to, nint length) =>
        Unsafe.InitBlockUnaligned(to, 0, checked((uint)(length * sizeof(float))));
}
