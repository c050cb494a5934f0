namespace DistTrain.Kernels;

/// <summary>
/// Pooling of images with fewer channels than would fill half a vector of 16, one value at a time and in the same order
/// as the vector kernels. Windows are walked so that no branch depends on the data.
/// </summary>
internal static unsafe class FewChannelPooling
{
    /// <summary>Below this many channels.</summary>
    public const int Channels = 8;

    public static void Max(in PoolingShape s, float* image, float* y, int* taps)
    {
        int channels = s.Channels;
        for (int oy = 0; oy < s.OutputHeight; oy++)
        {
            s.Rows(oy, out int top, out int fromY, out int toY);
            for (int ox = 0; ox < s.OutputWidth; ox++)
            {
                s.Columns(ox, out int left, out int fromX, out int toX);
                for (int c = 0; c < channels; c++)
                {
                    float* corner = image + ((((nint)top * s.Width) + left) * channels) + c;
                    int best = *(int*)(corner + ((((nint)fromY * s.Width) + fromX) * channels));
                    int where = (fromY * s.KernelWidth) + fromX;
                    for (int ky = fromY; ky < toY; ky++)
                    {
                        float* from = corner + ((((nint)ky * s.Width) + fromX) * channels);
                        int tap = (ky * s.KernelWidth) + fromX;
                        for (int kx = fromX; kx < toX; kx++, tap++, from += channels)
                        {
                            float value = *from;
                            // Not below or equal: larger, or a NaN on either side; one that is best already stays.
                            bool better = value > BitConverter.Int32BitsToSingle(best) | float.IsNaN(value);
                            best = better ? BitConverter.SingleToInt32Bits(value) : best;
                            where = better ? tap : where;
                        }
                    }
                    *y++ = BitConverter.Int32BitsToSingle(best);
                    if (taps != null) *taps++ = where;
                }
            }
        }
    }

    public static void MaxGradient(in PoolingShape s, float* dY, int* taps, float* image)
    {
        Elementwise.Fill(image, s.InputLength, 0);
        for (int oy = 0; oy < s.OutputHeight; oy++)
        {
            s.Rows(oy, out int top, out int fromY, out int toY);
            for (int ox = 0; ox < s.OutputWidth; ox++)
            {
                s.Columns(ox, out int left, out int fromX, out int toX);
                float* corner = image + ((((nint)top * s.Width) + left) * s.Channels);
                // The +0 that the other pixels of a window get changes none of them: sums from +0 are never -0.
                for (int c = 0; c < s.Channels; c++)
                {
                    int tap = *taps++;
                    float value = *dY++;
                    int ky = tap / s.KernelWidth;
                    int kx = tap - (ky * s.KernelWidth);
                    // A tap that no pixel of the window has goes nowhere, as in the vector kernel.
                    if (ky < fromY || ky >= toY || kx < fromX || kx >= toX) continue;
                    corner[((((nint)ky * s.Width) + kx) * s.Channels) + c] += value;
                }
            }
        }
    }

    public static void Average(in PoolingShape s, float* image, float* y, bool countPadding)
    {
        for (int oy = 0; oy < s.OutputHeight; oy++)
        {
            s.Rows(oy, out int top, out int fromY, out int toY);
            for (int ox = 0; ox < s.OutputWidth; ox++)
            {
                s.Columns(ox, out int left, out int fromX, out int toX);
                float divisor = countPadding ? s.Taps : (toY - fromY) * (toX - fromX);
                for (int c = 0; c < s.Channels; c++)
                {
                    float sum = 0;
                    for (int ky = fromY; ky < toY; ky++)
                    {
                        float* from = image + ((((nint)(top + ky) * s.Width) + left + fromX) * s.Channels) + c;
                        for (int kx = fromX; kx < toX; kx++, from += s.Channels) sum += *from;
                    }
                    *y++ = sum / divisor;
                }
            }
        }
    }

    public static void AverageGradient(in PoolingShape s, float* dY, float* image, bool countPadding)
    {
        Elementwise.Fill(image, s.InputLength, 0);
        for (int oy = 0; oy < s.OutputHeight; oy++)
        {
            s.Rows(oy, out int top, out int fromY, out int toY);
            for (int ox = 0; ox < s.OutputWidth; ox++)
            {
                s.Columns(ox, out int left, out int fromX, out int toX);
                float divisor = countPadding ? s.Taps : (toY - fromY) * (toX - fromX);
                for (int c = 0; c < s.Channels; c++)
                {
                    float value = *dY++ / divisor;
                    for (int ky = fromY; ky < toY; ky++)
                    {
                        float* to = image + ((((nint)(top + ky) * s.Width) + left + fromX) * s.Channels) + c;
                        for (int kx = fromX; kx < toX; kx++, to += s.Channels) *to += value;
                    }
                }
            }
        }
    }
}
