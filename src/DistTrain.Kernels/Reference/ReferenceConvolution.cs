namespace DistTrain.Kernels.Reference;

/// <summary>Convolutions by plain loops, in the documented order.</summary>
internal static unsafe class ReferenceConvolution
{
    /// <summary>See <see cref="Convolution.Forward"/>; w as it lies before packing.</summary>
    public static void Forward(in ConvolutionShape s, int examples, float* x, float* w, float* bias, Activation activation, float* y)
    {
        if (Winograd.Applies(s))
        {
            ReferenceWinograd.Forward(s, examples, x, w, bias, activation, y);
            return;
        }
        int channels = s.GroupChannels, outputs = s.GroupOutputs;
        for (int n = 0; n < examples; n++)
            for (int oy = 0; oy < s.OutputHeight; oy++)
                for (int ox = 0; ox < s.OutputWidth; ox++)
                    for (int o = 0; o < s.Outputs; o++)
                    {
                        float sum = 0;
                        for (int ky = 0; ky < s.KernelHeight; ky++)
                            for (int kx = 0; kx < s.KernelWidth; kx++)
                                for (int c = 0; c < channels; c++)
                                {
                                    float pixel = Input(s, x, n, (oy * s.StrideY) - s.PadTop + (ky * s.DilationY), (ox * s.StrideX) - s.PadLeft + (kx * s.DilationX), (o / outputs * channels) + c);
                                    sum = MathF.FusedMultiplyAdd(pixel, Weight(s, w, o, c, ky, kx), sum);
                                }
                        if (bias != null) sum += bias[o];
                        y[Output(s, n, oy, ox, o)] = ReferenceFunctions.Activate(activation, sum);
                    }
    }

    /// <summary>See <see cref="Convolution.DataGradient"/>; w as it lies before packing.</summary>
    public static void DataGradient(in ConvolutionShape s, int examples, float* dY, float* w, float* bias, Activation activation, float* dX)
    {
        if (Winograd.Applies(s))
        {
            ReferenceWinograd.DataGradient(s, examples, dY, w, bias, activation, dX);
            return;
        }
        int channels = s.GroupChannels, outputs = s.GroupOutputs;
        for (int n = 0; n < examples; n++)
            for (int y = 0; y < s.Height; y++)
                for (int x = 0; x < s.Width; x++)
                    for (int c = 0; c < s.Channels; c++)
                    {
                        float sum = 0;
                        for (int ky = s.KernelHeight - 1; ky >= 0; ky--)
                            for (int kx = s.KernelWidth - 1; kx >= 0; kx--)
                            {
                                int ty = y + s.PadTop - (ky * s.DilationY), tx = x + s.PadLeft - (kx * s.DilationX);
                                if (ty % s.StrideY != 0 || tx % s.StrideX != 0) continue;
                                int oy = ty / s.StrideY, ox = tx / s.StrideX;
                                bool inside = oy >= 0 && oy < s.OutputHeight && ox >= 0 && ox < s.OutputWidth;
                                int group = c / channels;
                                for (int o = group * outputs; o < (group + 1) * outputs; o++)
                                    sum = MathF.FusedMultiplyAdd(inside ? dY[Output(s, n, oy, ox, o)] : 0, Weight(s, w, o, c % channels, ky, kx), sum);
                            }
                        if (bias != null) sum += bias[c];
                        dX[((((((nint)n * s.Height) + y) * s.Width) + x) * s.Channels) + c] = ReferenceFunctions.Activate(activation, sum);
                    }
    }

    /// <summary>See <see cref="Convolution.WeightGradient"/>.</summary>
    public static void WeightGradient(in ConvolutionShape shape, float* dY, float* x, KRange[] ranges, int[] leafStarts, float* dW)
    {
        ConvolutionShape s = shape;
        if (Winograd.Applies(s))
        {
            ReferenceWinograd.WeightGradient(s, dY, x, ranges, leafStarts, dW);
            return;
        }
        int channels = s.GroupChannels, outputs = s.GroupOutputs;
        for (int output = 0; output < s.Outputs; output++)
            for (int channel = 0; channel < channels; channel++)
                for (int tapY = 0; tapY < s.KernelHeight; tapY++)
                    for (int tapX = 0; tapX < s.KernelWidth; tapX++)
                    {
                        int o = output, c = channel, ky = tapY, kx = tapX;
                        dW[((((((nint)o * channels) + c) * s.KernelHeight) + ky) * s.KernelWidth) + kx] = ReferenceGemm.Tree(0, leafStarts.Length - 1, leaf =>
                        {
                            float sum = 0;
                            for (int r = leafStarts[leaf]; r < leafStarts[leaf + 1]; r++)
                                for (int n = ranges[r].Start; n < ranges[r].Start + ranges[r].Count; n++)
                                    for (int oy = 0; oy < s.OutputHeight; oy++)
                                        for (int ox = 0; ox < s.OutputWidth; ox++)
                                        {
                                            float pixel = Input(s, x, n, (oy * s.StrideY) - s.PadTop + (ky * s.DilationY), (ox * s.StrideX) - s.PadLeft + (kx * s.DilationX), (o / outputs * channels) + c);
                                            sum = MathF.FusedMultiplyAdd(pixel, dY[Output(s, n, oy, ox, o)], sum);
                                        }
                            return sum;
                        });
                    }
    }

    /// <summary>See <see cref="Convolution.BiasGradient"/>.</summary>
    public static void BiasGradient(in ConvolutionShape s, float* dY, KRange[] ranges, int[] leafStarts, float* db)
    {
        int pixels = s.OutputHeight * s.OutputWidth;
        KRange[] rows = [.. ranges.Select(r => new KRange(r.Start * pixels, r.Count * pixels))];
        ReferenceGemm.ColumnSum(dY, s.Outputs, s.Outputs, rows, leafStarts, db);
    }

    private static float Input(in ConvolutionShape s, float* x, int n, int y, int column, int c) =>
        y < 0 || y >= s.Height || column < 0 || column >= s.Width ? 0 : x[((((((nint)n * s.Height) + y) * s.Width) + column) * s.Channels) + c];

    private static float Weight(in ConvolutionShape s, float* w, int o, int c, int ky, int kx) =>
        w[((((((nint)o * s.GroupChannels) + c) * s.KernelHeight) + ky) * s.KernelWidth) + kx];

    private static nint Output(in ConvolutionShape s, int n, int y, int x, int o) =>
        ((((((nint)n * s.OutputHeight) + y) * s.OutputWidth) + x) * s.Outputs) + o;
}
