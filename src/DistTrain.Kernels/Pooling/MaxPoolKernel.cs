using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>Max pooling, 16 channels at a time.</summary>
internal unsafe struct MaxPoolKernel : IRangeKernel
{
    public PoolingShape Shape;
    public float* X;
    public float* Y;
    public int* Taps;

    /// <inheritdoc/>
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        for (nint example = begin; example < end; example++)
        {
            float* image = X + (example * Shape.InputLength);
            nint to = example * Shape.OutputLength;
            if (Shape.Channels < FewChannelPooling.Channels)
            {
                FewChannelPooling.Max(in Shape, image, Y + to, Taps == null ? null : Taps + to);
                continue;
            }
            for (int y = 0; y < Shape.OutputHeight; y++)
            {
                Shape.Rows(y, out int top, out int fromY, out int toY);
                for (int x = 0; x < Shape.OutputWidth; x++, to += Shape.Channels)
                {
                    Shape.Columns(x, out int left, out int fromX, out int toX);
                    nint corner = (((nint)top * Shape.Width) + left) * Shape.Channels;
                    Window<T>(image + corner, fromY, toY, fromX, toX, Y + to, Taps == null ? null : (float*)(Taps + to));
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Window<T>(float* corner, int fromY, int toY, int fromX, int toX, float* y, float* taps)
        where T : struct, ILanes<T>
    {
        int channels = Shape.Channels;
        int kernelWidth = Shape.KernelWidth;
        nint pitch = (nint)Shape.Width * channels;
        for (int c = 0; c < channels; c += 16)
        {
            int count = Math.Min(16, channels - c);
            float* first = corner + c + (fromY * pitch) + ((nint)fromX * channels);
            T best = Load<T>(first, count);
            T where = T.BroadcastBits((fromY * kernelWidth) + fromX);
            for (int ky = fromY; ky < toY; ky++)
            {
                float* from = corner + c + (ky * pitch) + ((nint)fromX * channels);
                for (int kx = fromX; kx < toX; kx++, from += channels)
                {
                    T value = Load<T>(from, count);
                    // A NaN is taken whatever was best.
                    T better = T.Or(T.LessThan(best, value), T.Xor(T.Equal(value, value), T.BroadcastBits(-1)));
                    best = T.Select(better, value, best);
                    where = T.Select(better, T.BroadcastBits((ky * kernelWidth) + kx), where);
                }
            }
            if (count == 16)
            {
                T.Store(y + c, best);
                if (taps != null) T.Store(taps + c, where);
            }
            else
            {
                T.StorePartial(y + c, best, count);
                if (taps != null) T.StorePartial(taps + c, where, count);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Load<T>(float* from, int count)
        where T : struct, ILanes<T> => count == 16 ? T.Load(from) : T.LoadPartial(from, count);
}

/// <summary>The gradient of max pooling, 16 channels at a time, window by window.</summary>
internal unsafe struct MaxPoolGradientKernel : IRangeKernel
{
    public PoolingShape Shape;
    public float* DY;
    public int* Taps;
    public float* DX;

    /// <inheritdoc/>
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        bool once = Shape.Disjoint;
        bool clear = !once || !Shape.Covers;
        for (nint example = begin; example < end; example++)
        {
            float* image = DX + (example * Shape.InputLength);
            nint from = example * Shape.OutputLength;
            if (Shape.Channels < FewChannelPooling.Channels)
            {
                FewChannelPooling.MaxGradient(in Shape, DY + from, Taps + from, image);
                continue;
            }
            if (clear) Elementwise.Fill(image, Shape.InputLength, 0);
            for (int y = 0; y < Shape.OutputHeight; y++)
            {
                Shape.Rows(y, out int top, out int fromY, out int toY);
                for (int x = 0; x < Shape.OutputWidth; x++, from += Shape.Channels)
                {
                    Shape.Columns(x, out int left, out int fromX, out int toX);
                    nint corner = (((nint)top * Shape.Width) + left) * Shape.Channels;
                    Window<T>(DY + from, (float*)(Taps + from), image + corner, fromY, toY, fromX, toX, once);
                }
            }
        }
    }

    // Lanes hold integers here; equal integers are found by their difference, since as floats they are denormals.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Window<T>(float* dY, float* taps, float* corner, int fromY, int toY, int fromX, int toX, bool once)
        where T : struct, ILanes<T>
    {
        int channels = Shape.Channels;
        nint pitch = (nint)Shape.Width * channels;
        for (int c = 0; c < channels; c += 16)
        {
            int count = Math.Min(16, channels - c);
            T gradient = count == 16 ? T.Load(dY + c) : T.LoadPartial(dY + c, count);
            T where = count == 16 ? T.Load(taps + c) : T.LoadPartial(taps + c, count);
            for (int ky = fromY; ky < toY; ky++)
            {
                float* to = corner + c + (ky * pitch) + ((nint)fromX * channels);
                int tap = (ky * Shape.KernelWidth) + fromX;
                for (int kx = fromX; kx < toX; kx++, tap++, to += channels)
                {
                    T difference = T.BitsToFloat(T.SubtractBits(where, T.BroadcastBits(tap)));
                    T value = T.And(T.Equal(difference, T.Zero), gradient);
                    if (count == 16) T.Store(to, (once ? T.Zero : T.Load(to)) + value);
                    else T.StorePartial(to, (once ? T.Zero : T.LoadPartial(to, count)) + value, count);
                }
            }
        }
    }
}
