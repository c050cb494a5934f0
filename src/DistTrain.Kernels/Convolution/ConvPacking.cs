namespace DistTrain.Kernels;

/// <summary>
/// Weights as the passes read them: for each group, strips of 32 target channels (the last one of 16 where that is
/// enough), missing ones +0; in a strip the taps in the pass's order, in a tap the source channels. Depthwise weights
/// are (tap, channel), the channels padded to a multiple of 16.
/// </summary>
internal static unsafe class ConvPacking
{
    /// <summary>Floats of the weights of one group with so many target channels and so many k.</summary>
    public static nint GroupLength(int targets, nint depth) => PaddedColumns(targets) * depth;

    /// <summary>Columns of all strips.</summary>
    public static int PaddedColumns(int targets) => (targets + 15) / 16 * 16;

    /// <summary>Packs for the forward pass: taps ascending.</summary>
    public static void Forward(in ConvolutionShape shape, float* w, float* packed)
    {
        int channels = shape.GroupChannels, outputs = shape.GroupOutputs, taps = shape.Taps;
        if (shape.Depthwise)
        {
            int width = PaddedColumns(shape.Channels);
            for (int tap = 0; tap < taps; tap++, packed += width) Gather(w + tap, taps, shape.Channels, width, packed);
            return;
        }
        for (int group = 0; group < shape.Groups; group++, w += (nint)outputs * channels * taps)
        {
            for (int strip = 0; strip < outputs; strip += ConvTileDispatch.Strip)
            {
                int width = Math.Min(ConvTileDispatch.Strip, PaddedColumns(outputs) - strip);
                int real = Math.Min(width, outputs - strip);
                for (int tap = 0; tap < taps; tap++)
                {
                    for (int c = 0; c < channels; c++, packed += width)
                    {
                        float* from = w + ((((nint)strip * channels) + c) * taps) + tap;
                        Gather(from, (nint)channels * taps, real, width, packed);
                    }
                }
            }
        }
    }

    /// <summary>Packs for the data gradient: taps descending, inputs and outputs swapped.</summary>
    public static void Data(in ConvolutionShape shape, float* w, float* packed)
    {
        int channels = shape.GroupChannels, outputs = shape.GroupOutputs, taps = shape.Taps;
        if (shape.Depthwise)
        {
            int width = PaddedColumns(shape.Channels);
            for (int tap = taps - 1; tap >= 0; tap--, packed += width) Gather(w + tap, taps, shape.Channels, width, packed);
            return;
        }
        for (int group = 0; group < shape.Groups; group++, w += (nint)outputs * channels * taps)
        {
            for (int strip = 0; strip < channels; strip += ConvTileDispatch.Strip)
            {
                int width = Math.Min(ConvTileDispatch.Strip, PaddedColumns(channels) - strip);
                int real = Math.Min(width, channels - strip);
                for (int tap = taps - 1; tap >= 0; tap--)
                {
                    for (int o = 0; o < outputs; o++, packed += width)
                        Gather(w + ((((nint)o * channels) + strip) * taps) + tap, taps, real, width, packed);
                }
            }
        }
    }

    private static void Gather(float* from, nint stride, int real, int width, float* to)
    {
        int j = 0;
        for (; j < real; j++, from += stride) to[j] = *from;
        for (; j < width; j++) to[j] = 0;
    }
}
