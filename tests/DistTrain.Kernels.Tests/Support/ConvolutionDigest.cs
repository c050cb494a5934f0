namespace DistTrain.Kernels.Tests;

/// <summary>The convolutions' and poolings' part of <see cref="KernelDigest"/>.</summary>
internal static unsafe class ConvolutionDigest
{
    public static void Append(Action<float[]> add)
    {
        Pass(ConvolutionShape.Square(9, 11, 5, 37, 3, padding: 1), 3, add);
        Pass(ConvolutionShape.Square(10, 7, 6, 8, 3, stride: 2, padding: 1, dilation: 2, groups: 2), 2, add);
        Pass(ConvolutionShape.Square(8, 9, 18, 18, 3, padding: 1, groups: 18), 3, add);
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
}
