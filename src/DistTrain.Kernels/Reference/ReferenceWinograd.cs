namespace DistTrain.Kernels.Reference;

/// <summary>Convolutions of 3x3 by plain loops, one channel of one tile at a time, in the order that <see cref="Winograd"/> documents.</summary>
internal static unsafe class ReferenceWinograd
{
    private delegate float[] Transform(float[] values);

    /// <summary>See <see cref="Convolution.Forward"/>; w as it lies before packing.</summary>
    public static void Forward(ConvolutionShape s, int examples, float* x, float* w, float* bias, Activation activation, float* y)
    {
        float[][] weights = Weights(s, w, turned: false);
        Pass(
            (n, py, px, c) => Pixel(x, s.Height, s.Width, s.Channels, n, py - s.PadTop, px - s.PadLeft, c),
            weights, examples, s.Channels, s.OutputHeight, s.OutputWidth, s.Outputs, bias, activation, y);
    }

    /// <summary>See <see cref="Convolution.DataGradient"/>; w as it lies before packing.</summary>
    public static void DataGradient(ConvolutionShape s, int examples, float* dY, float* w, float* bias, Activation activation, float* dX)
    {
        float[][] weights = Weights(s, w, turned: true);
        Pass(
            (n, py, px, c) => Pixel(dY, s.OutputHeight, s.OutputWidth, s.Outputs, n, py + s.PadTop - 2, px + s.PadLeft - 2, c),
            weights, examples, s.Outputs, s.Height, s.Width, s.Channels, bias, activation, dX);
    }

    /// <summary>See <see cref="Convolution.WeightGradient"/>.</summary>
    public static void WeightGradient(ConvolutionShape s, float* dY, float* x, KRange[] ranges, int[] leafStarts, float* dW)
    {
        float[][] leaves = new float[leafStarts.Length - 1][];
        for (int leaf = 0; leaf < leaves.Length; leaf++)
        {
            float[][] sums = new float[s.Channels * s.Outputs][];
            for (int i = 0; i < sums.Length; i++) sums[i] = new float[16];
            for (int r = leafStarts[leaf]; r < leafStarts[leaf + 1]; r++)
                for (int n = ranges[r].Start; n < ranges[r].Start + ranges[r].Count; n++)
                    for (int ty = 0; ty < s.OutputHeight; ty += 2)
                        for (int tx = 0; tx < s.OutputWidth; tx += 2)
                        {
                            float[][] gradients = new float[s.Outputs][];
                            for (int o = 0; o < s.Outputs; o++)
                                gradients[o] = Square(2, 4, Gradient, (i, j) => Pixel(dY, s.OutputHeight, s.OutputWidth, s.Outputs, n, ty + i, tx + j, o));
                            for (int c = 0; c < s.Channels; c++)
                            {
                                float[] input = Square(4, 4, Input, (i, j) => Pixel(x, s.Height, s.Width, s.Channels, n, ty + i - s.PadTop, tx + j - s.PadLeft, c));
                                for (int o = 0; o < s.Outputs; o++)
                                    for (int p = 0; p < 16; p++)
                                        sums[(c * s.Outputs) + o][p] = MathF.FusedMultiplyAdd(input[p], gradients[o][p], sums[(c * s.Outputs) + o][p]);
                            }
                        }
            leaves[leaf] = new float[s.WeightLength];
            for (int c = 0; c < s.Channels; c++)
                for (int o = 0; o < s.Outputs; o++)
                    Square(4, 3, WeightSums, (i, j) => sums[(c * s.Outputs) + o][(4 * i) + j]).CopyTo(leaves[leaf], ((o * s.Channels) + c) * 9);
        }
        for (int i = 0; i < s.WeightLength; i++) dW[i] = ReferenceGemm.Tree(0, leaves.Length, leaf => leaves[leaf][i]);
    }

    private static void Pass(
        Func<int, int, int, int, float> pixel, float[][] weights, int examples, int channels, int height, int width, int outputs, float* bias, Activation activation, float* y)
    {
        for (int n = 0; n < examples; n++)
            for (int ty = 0; ty < height; ty += 2)
                for (int tx = 0; tx < width; tx += 2)
                {
                    float[][] products = new float[outputs][];
                    for (int o = 0; o < outputs; o++) products[o] = new float[16];
                    for (int c = 0; c < channels; c++)
                    {
                        float[] input = Square(4, 4, Input, (i, j) => pixel(n, ty + i, tx + j, c));
                        for (int o = 0; o < outputs; o++)
                            for (int p = 0; p < 16; p++) products[o][p] = MathF.FusedMultiplyAdd(input[p], weights[(c * outputs) + o][p], products[o][p]);
                    }
                    for (int o = 0; o < outputs; o++)
                    {
                        float[] tile = Square(4, 2, Output, (i, j) => products[o][(4 * i) + j]);
                        for (int i = 0; i < 2 && ty + i < height; i++)
                            for (int j = 0; j < 2 && tx + j < width; j++)
                            {
                                float sum = tile[(2 * i) + j];
                                if (bias != null) sum += bias[o];
                                y[((((((nint)n * height) + ty + i) * width) + tx + j) * outputs) + o] = ReferenceFunctions.Activate(activation, sum);
                            }
                    }
                }
    }

    // (source channel, target channel), 16 places each.
    private static float[][] Weights(ConvolutionShape s, float* w, bool turned)
    {
        int sources = turned ? s.Outputs : s.Channels, targets = turned ? s.Channels : s.Outputs;
        float[][] places = new float[sources * targets][];
        for (int a = 0; a < sources; a++)
            for (int b = 0; b < targets; b++)
            {
                int o = turned ? a : b, c = turned ? b : a;
                float* g = w + (((o * s.Channels) + c) * 9);
                places[(a * targets) + b] = Square(3, 4, Weight, (i, j) => g[turned ? 8 - (3 * i) - j : (3 * i) + j]);
            }
        return places;
    }

    // (from, from) to (to, to): along y, then along x.
    private static float[] Square(int from, int to, Transform transform, Func<int, int, float> value)
    {
        float[] half = new float[to * from], result = new float[to * to];
        for (int x = 0; x < from; x++)
        {
            float[] column = transform([.. Enumerable.Range(0, from).Select(y => value(y, x))]);
            for (int y = 0; y < to; y++) half[(y * from) + x] = column[y];
        }
        for (int y = 0; y < to; y++) transform(half[(y * from)..((y + 1) * from)]).CopyTo(result, y * to);
        return result;
    }

    private static float[] Input(float[] d) => [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]];

    private static float[] Weight(float[] g) => [g[0], ((g[0] + g[2]) + g[1]) * 0.5f, ((g[0] + g[2]) - g[1]) * 0.5f, g[2]];

    private static float[] Output(float[] m) => [(m[0] + m[1]) + m[2], (m[1] - m[2]) + m[3]];

    private static float[] Gradient(float[] y) => [y[0], y[0] + y[1], y[0] - y[1], y[1]];

    private static float[] WeightSums(float[] n) => [n[0] + ((n[1] + n[2]) * 0.5f), (n[1] - n[2]) * 0.5f, ((n[1] + n[2]) * 0.5f) + n[3]];

    private static float Pixel(float* images, int height, int width, int channels, int n, int y, int x, int c) =>
        y < 0 || y >= height || x < 0 || x >= width ? 0 : images[((((((nint)n * height) + y) * width) + x) * channels) + c];
}
