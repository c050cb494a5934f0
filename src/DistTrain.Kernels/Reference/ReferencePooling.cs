namespace DistTrain.Kernels.Reference;

/// <summary>Poolings by plain loops over every input pixel and window, in the documented order.</summary>
internal static unsafe class ReferencePooling
{
    /// <summary>See <see cref="Pooling.Max"/>.</summary>
    public static void Max(in PoolingShape s, int examples, float* x, float* y, int* taps)
    {
        for (int i = 0; i < examples * s.OutputLength; i++)
        {
            Split(s, i, out int n, out int oy, out int ox, out int c);
            float best = 0;
            int where = -1;
            for (int tap = 0; tap < s.Taps; tap++)
            {
                if (!Input(s, n, oy, ox, tap, c, out nint at)) continue;
                if (where >= 0 && !(x[at] > best) && !float.IsNaN(x[at])) continue;
                best = x[at];
                where = tap;
            }
            y[i] = best;
            taps[i] = where;
        }
    }

    /// <summary>See <see cref="Pooling.MaxGradient"/>.</summary>
    public static void MaxGradient(in PoolingShape s, int examples, float* dY, int* taps, float* dX)
    {
        new Span<float>(dX, (int)(examples * s.InputLength)).Clear();
        for (int i = 0; i < examples * s.OutputLength; i++)
        {
            Split(s, i, out int n, out int oy, out int ox, out int c);
            for (int tap = 0; tap < s.Taps; tap++)
                if (Input(s, n, oy, ox, tap, c, out nint at)) dX[at] += taps[i] == tap ? dY[i] : 0;
        }
    }

    /// <summary>See <see cref="Pooling.Average"/>.</summary>
    public static void Average(in PoolingShape s, int examples, float* x, float* y, bool countPadding)
    {
        for (int i = 0; i < examples * s.OutputLength; i++)
        {
            Split(s, i, out int n, out int oy, out int ox, out int c);
            float sum = 0;
            for (int tap = 0; tap < s.Taps; tap++)
                if (Input(s, n, oy, ox, tap, c, out nint at)) sum += x[at];
            y[i] = sum / Divisor(s, oy, ox, countPadding);
        }
    }

    /// <summary>See <see cref="Pooling.AverageGradient"/>.</summary>
    public static void AverageGradient(in PoolingShape s, int examples, float* dY, float* dX, bool countPadding)
    {
        new Span<float>(dX, (int)(examples * s.InputLength)).Clear();
        for (int i = 0; i < examples * s.OutputLength; i++)
        {
            Split(s, i, out int n, out int oy, out int ox, out int c);
            for (int tap = 0; tap < s.Taps; tap++)
                if (Input(s, n, oy, ox, tap, c, out nint at)) dX[at] += dY[i] / Divisor(s, oy, ox, countPadding);
        }
    }

    private static void Split(in PoolingShape s, int i, out int n, out int oy, out int ox, out int c)
    {
        c = i % s.Channels;
        i /= s.Channels;
        ox = i % s.OutputWidth;
        i /= s.OutputWidth;
        oy = i % s.OutputHeight;
        n = i / s.OutputHeight;
    }

    private static bool Input(in PoolingShape s, int n, int oy, int ox, int tap, int c, out nint at)
    {
        int y = (oy * s.StrideY) - s.PadTop + (tap / s.KernelWidth);
        int x = (ox * s.StrideX) - s.PadLeft + (tap % s.KernelWidth);
        at = ((((((nint)n * s.Height) + y) * s.Width) + x) * s.Channels) + c;
        return y >= 0 && y < s.Height && x >= 0 && x < s.Width;
    }

    private static float Divisor(in PoolingShape s, int oy, int ox, bool countPadding)
    {
        if (countPadding) return s.Taps;
        int count = 0;
        for (int tap = 0; tap < s.Taps; tap++)
            if (Input(s, 0, oy, ox, tap, 0, out _)) count++;
        return count;
    }
}
