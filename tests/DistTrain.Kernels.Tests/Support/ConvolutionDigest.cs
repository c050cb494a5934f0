namespace DistTrain.Kernels.Tests;

/// <summary>The convolutions' and poolings' part of <see cref="KernelDigest"/>.</summary>
internal static unsafe class ConvolutionDigest
{
    public static void Append(Action<float[]> add)
    {
        Pass(ConvolutionShape.Square(9, 11, 5, 37, 3, padding: 1), 3, add);
        Pass(ConvolutionShape.Square(10, 7, 6, 8, 3, stride: 2, padding: 1, dilation: 2, groups: 2), 2, add);
        Pass(ConvolutionShape.Square(8, 9, 18, 18, 3, padding: 1, groups: 18), 3, add);
        Pass(ConvolutionShape.Square(8, 11, 32, 48, 3, padding: 1), 3, add);
        Pooled(ConvolutionShape.Square(8, 11, 32, 48, 3, padding: 1), 3, add);
        Pooled(ConvolutionShape.Square(9, 8, 1, 32, 3, padding: 1), 3, add);
        Pass(PoolingShape.Square(9, 7, 19, 3, 2, 1), add);
        Pass(PoolingShape.Square(8, 40, 1, 2), add);
    }

    private static void Pass(PoolingShape s, Action<float[]> add)
    {
        float[] x = TestData.Awkward((int)s.InputLength, 1), y = new float[s.OutputLength], dx = new float[x.Length];
        int[] taps = new int[y.Length];
        fixed (float* px = x, py = y, pdx = dx)
        fixed (int* pt = taps)
        {
            Pooling.Max(s, 1, px, py, pt);
            add(y);
            add([.. taps.Select(t => (float)t)]);
            Pooling.MaxGradient(s, 1, py, pt, pdx);
            add(dx);
            Pooling.Average(s, 1, px, py, countPadding: false);
            add(y);
            Pooling.AverageGradient(s, 1, py, pdx, countPadding: true);
            add(dx);
        }
    }

    private static void Pass(ConvolutionShape s, int examples, Action<float[]> add)
    {
        float[] x = TestData.Random((int)(examples * s.InputLength), 1), w = TestData.Random((int)s.WeightLength, 2), bias = TestData.Random(s.Outputs, 3);
        float[] forward = new float[Convolution.ForwardPackedLength(s)], data = new float[Convolution.DataPackedLength(s)];
        float[] y = new float[examples * s.OutputLength], dx = new float[x.Length], dw = new float[w.Length], db = new float[s.Outputs];
        KRange[] ranges = [.. Enumerable.Range(0, examples).Select(i => new KRange(i, 1))];
        int[] starts = [.. Enumerable.Range(0, examples + 1)];
        fixed (float* px = x, pw = w, pb = bias, pf = forward, pd = data, py = y, pdx = dx, pdw = dw, pdb = db)
        {
            Convolution.PackForward(s, pw, pf);
            Convolution.PackData(s, pw, pd);
            Convolution.Forward(s, examples, px, pf, py, new GemmEpilogue(pb, Activation.Relu));
            Convolution.DataGradient(s, examples, py, pd, pdx);
            Convolution.WeightGradient(s, py, px, ranges, starts, pdw);
            Convolution.BiasGradient(s, py, ranges, starts, pdb);
        }
        foreach (float[] result in (float[][])[y, dx, dw, db]) add(result);
    }

    private static void Pooled(ConvolutionShape s, int examples, Action<float[]> add)
    {
        int pooled = examples * (s.OutputHeight / 2) * (s.OutputWidth / 2) * s.Outputs;
        float[] x = TestData.Random((int)(examples * s.InputLength), 1), w = TestData.Random((int)s.WeightLength, 2), bias = TestData.Random(s.Outputs, 3);
        float[] forward = new float[Convolution.ForwardPackedLength(s)], data = new float[Convolution.DataPackedLength(s)];
        float[] y = new float[pooled], taps = new float[pooled], dx = new float[x.Length], dw = new float[w.Length], db = new float[s.Outputs];
        KRange[] ranges = [.. Enumerable.Range(0, examples).Select(i => new KRange(i, 1))];
        int[] starts = [.. Enumerable.Range(0, examples + 1)];
        fixed (float* px = x, pw = w, pb = bias, pf = forward, pd = data, py = y, pt = taps, pdx = dx, pdw = dw, pdb = db)
        {
            Convolution.PackForward(s, pw, pf);
            Convolution.PackData(s, pw, pd);
            Convolution.ForwardPooled(s, examples, px, pf, pb, relu: true, py, pt);
            Convolution.DataGradientPooled(s, examples, py, pt, pd, pdx);
            Convolution.WeightGradientPooled(s, py, pt, px, ranges, starts, pdw);
            Convolution.BiasGradientPooled(s, py, pt, ranges, starts, pdb);
        }
        foreach (float[] result in (float[][])[y, taps, dx, dw, db]) add(result);
    }
}
