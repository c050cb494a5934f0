using System.Runtime.CompilerServices;

namespace DistTrain.Kernels;

/// <summary>Average pooling, 16 channels at a time, or 64 where there are as many.</summary>
internal unsafe struct AveragePoolKernel : IRangeKernel
{
    public PoolingShape Shape;
    public float* X;
    public float* Y;
    public bool CountPadding;

    /// <inheritdoc/>
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        for (nint example = begin; example < end; example++)
        {
            float* image = X + (example * Shape.InputLength);
            float* to = Y + (example * Shape.OutputLength);
            if (Shape.Channels < FewChannelPooling.Channels)
            {
                FewChannelPooling.Average(in Shape, image, to, CountPadding);
                continue;
            }
            for (int y = 0; y < Shape.OutputHeight; y++)
            {
                Shape.Rows(y, out int top, out int fromY, out int toY);
                for (int x = 0; x < Shape.OutputWidth; x++, to += Shape.Channels)
                {
                    Shape.Columns(x, out int left, out int fromX, out int toX);
                    float* from = image + ((((nint)(top + fromY) * Shape.Width) + left + fromX) * Shape.Channels);
                    float divisor = CountPadding ? Shape.Taps : (toY - fromY) * (toX - fromX);
                    Window<T>(from, toY - fromY, toX - fromX, to, divisor);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Window<T>(float* from, int rows, int columns, float* to, float divisor)
        where T : struct, ILanes<T>
    {
        int channels = Shape.Channels;
        nint pitch = (nint)Shape.Width * channels;
        T divide = T.Broadcast(divisor);
        int c = 0;
        for (; c <= channels - 64; c += 64)
        {
            T s0 = T.Zero, s1 = T.Zero, s2 = T.Zero, s3 = T.Zero;
            for (int ky = 0; ky < rows; ky++)
            {
                float* x = from + c + (ky * pitch);
                for (int kx = 0; kx < columns; kx++, x += channels)
                {
                    s0 += T.Load(x);
                    s1 += T.Load(x + 16);
                    s2 += T.Load(x + 32);
                    s3 += T.Load(x + 48);
                }
            }
            T.Store(to + c, s0 / divide);
            T.Store(to + c + 16, s1 / divide);
            T.Store(to + c + 32, s2 / divide);
            T.Store(to + c + 48, s3 / divide);
        }
        for (; c < channels; c += 16)
        {
            int count = Math.Min(16, channels - c);
            T sum = T.Zero;
            for (int ky = 0; ky < rows; ky++)
            {
                float* x = from + c + (ky * pitch);
                for (int kx = 0; kx < columns; kx++, x += channels) sum += count == 16 ? T.Load(x) : T.LoadPartial(x, count);
            }
            if (count == 16) T.Store(to + c, sum / divide);
            else T.StorePartial(to + c, sum / divide, count);
        }
    }
}

/// <summary>The gradient of average pooling, 16 channels at a time, window by window.</summary>
internal unsafe struct AveragePoolGradientKernel : IRangeKernel
{
    public PoolingShape Shape;
    public float* DY;
    public float* DX;
    public bool CountPadding;

    /// <inheritdoc/>
    public readonly void Run<T>(nint begin, nint end)
        where T : struct, ILanes<T>
    {
        bool once = Shape.Disjoint;
        bool clear = !once || !Shape.Covers;
        for (nint example = begin; example < end; example++)
        {
            float* image = DX + (example * Shape.InputLength);
            float* from = DY + (example * Shape.OutputLength);
            if (Shape.Channels < FewChannelPooling.Channels)
            {
                FewChannelPooling.AverageGradient(in Shape, from, image, CountPadding);
                continue;
            }
            if (clear) Elementwise.Fill(image, Shape.InputLength, 0);
            for (int y = 0; y < Shape.OutputHeight; y++)
            {
                Shape.Rows(y, out int top, out int fromY, out int toY);
                for (int x = 0; x < Shape.OutputWidth; x++, from += Shape.Channels)
                {
                    Shape.Columns(x, out int left, out int fromX, out int toX);
                    float* to = image + ((((nint)(top + fromY) * Shape.Width) + left + fromX) * Shape.Channels);
                    float divisor = CountPadding ? Shape.Taps : (toY - fromY) * (toX - fromX);
                    Window<T>(from, to, toY - fromY, toX - fromX, divisor, once);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Window<T>(float* dY, float* to, int rows, int columns, float divisor, bool once)
        where T : struct, ILanes<T>
    {
        int channels = Shape.Channels;
        nint pitch = (nint)Shape.Width * channels;
        for (int c = 0; c < channels; c += 16)
        {
            int count = Math.Min(16, channels - c);
            T value = (count == 16 ? T.Load(dY + c) : T.LoadPartial(dY + c, count)) / T.Broadcast(divisor);
            for (int ky = 0; ky < rows; ky++)
            {
                float* x = to + c + (ky * pitch);
                for (int kx = 0; kx < columns; kx++, x += channels)
                {
                    if (count == 16) T.Store(x, (once ? T.Zero : T.Load(x)) + value);
                    else T.StorePartial(x, (once ? T.Zero : T.LoadPartial(x, count)) + value, count);
                }
            }
        }
    }
}
