namespace DistTrain.Kernels.Tests;

/// <summary>The part of <see cref="KernelDigest"/> that is softmax, norms and attention.</summary>
internal static unsafe class RowsAndHeads
{
    public static void Add(Action<float[]> add)
    {
        Losses(add);
        Norms(add);
        Heads(add);
    }

    private static void Losses(Action<float[]> add)
    {
        const int Rows = 9, Classes = 70;
        float[] x = TestData.Random(Rows * Classes, 1), t = TestData.Random(Rows * Classes, 2), w = TestData.Random(Classes, 3);
        float[] losses = new float[Rows], y = new float[Rows * Classes];
        int[] labels = [.. Enumerable.Range(0, Rows).Select(i => (i * 31 % Classes) - 1)];
        fixed (float* px = x, pt = t, pw = w, pl = losses, py = y)
        fixed (int* l = labels)
        {
            var options = new CrossEntropyOptions { LabelSmoothing = 0.1f, ClassWeights = pw, IgnoredLabel = -1 };
            SoftmaxCrossEntropy.Run(px, l, Rows, Classes, in options, pl, null, py, null);
            add([.. losses, .. y]);
            SoftmaxCrossEntropy.RunSoft(px, pt, Rows, Classes, in options, pl, py);
            add([.. losses, .. y]);
            Softmax.Forward(px, Rows, Classes, py);
            add(y);
            Softmax.Backward(pt, py, Rows, Classes, py);
            add(y);
            Softmax.LogForward(px, Rows, Classes, py);
            add(y);
            Softmax.LogBackward(pt, py, Rows, Classes, py);
            add(y);
        }
    }

    private static void Norms(Action<float[]> add)
    {
        const int Rows = 80, Features = 38;
        float[] x = TestData.Random(Rows * Features, 1), g = TestData.Random(Rows * Features, 2), s = TestData.Random(Features, 3), h = TestData.Random(Features, 4);
        float[] y = new float[Rows * Features], m = new float[Rows * 2], r = new float[Rows * 2], ds = new float[Features], dh = new float[Features];
        float[] sums = new float[2 * Features];
        KRange[] ranges = [new(0, 67), new(67, 0), new(67, 12), new(79, 1)];
        int[] starts = [0, 1, 3, 4];
        fixed (float* px = x, pg = g, ps = s, ph = h, py = y, pm = m, pr = r, pds = ds, pdh = dh, pt = sums)
        {
            LayerNorm.Forward(px, Rows, Features, ps, ph, 1e-5f, py, pm, pr);
            add(y);
            LayerNorm.Backward(pg, px, Features, ps, pm, pr, ranges, starts, py, pds, pdh);
            add([.. y, .. ds, .. dh]);
            RmsNorm.Forward(px, Rows, Features, ps, 1e-5f, py, pr);
            add(y);
            RmsNorm.Backward(pg, px, Features, ps, pr, ranges, starts, py, pds);
            add([.. y, .. ds]);
            BatchNorm.Forward(px, Features, ranges, starts, ps, ph, 1e-5f, ph, ps, py, pm, pr, pt);
            add([.. y, .. sums]);
            BatchNorm.Backward(pg, px, Features, ranges, starts, ps, pm, pr, py, pds, pdh);
            add([.. y, .. ds, .. dh]);
            GroupNorm.Forward(px, Rows / 5, 5, Features, 2, ps, ph, 1e-5f, py, pm, pr);
            add(y);
            KRange[] examples = [new(0, 9), new(9, 7)];
            GroupNorm.Backward(pg, px, Rows / 5, 5, Features, 2, ps, pm, pr, examples, [0, 1, 2], py, pds, pdh);
            add([.. y, .. ds, .. dh]);
        }
    }

    private static void Heads(Action<float[]> add)
    {
        const int Heads = 2, Times = 75, Width = 13, Size = Heads * Times * Width;
        float[] x = TestData.Random(3 * Size, 1), g = TestData.Random(Size, 2), o = new float[Size], dx = new float[3 * Size], logarithms = new float[Heads * Times];
        fixed (float* px = x, pg = g, po = o, pd = dx, pl = logarithms)
        {
            var shape = new AttentionShape { Batch = 1, Heads = Heads, Queries = Times, Keys = Times, Width = Width, Scale = 0.05f, Causal = true };
            HeadsView Part(float* p) => HeadsView.Contiguous(p, Times, Heads, Width);
            Attention.Forward(in shape, Part(px), Part(px + Size), Part(px + (2 * Size)), Part(po), pl);
            Attention.Backward(
                in shape, Part(px), Part(px + Size), Part(px + (2 * Size)), Part(po), pl, Part(pg), Part(pd), Part(pd + Size), Part(pd + (2 * Size)));
        }
        add([.. o, .. logarithms, .. dx]);
        fixed (float* px = x, pg = g, po = o, pd = dx, pl = logarithms)
        {
            var shape = new AttentionShape
            {
                Batch = 1,
                Heads = Heads,
                Queries = Times,
                Keys = Times,
                Width = Width,
                Scale = 0.05f,
                Window = 9,
                Dropout = new AttentionDropout(new KeyedRandom(3, 4), 5, 6, 0.3f),
            };
            HeadsView Part(float* p) => HeadsView.Contiguous(p, Times, Heads, Width);
            Attention.Forward(in shape, Part(px), Part(px + Size), Part(px + (2 * Size)), Part(po), pl);
            Attention.Backward(
                in shape, Part(px), Part(px + Size), Part(px + (2 * Size)), Part(po), pl, Part(pg), Part(pd), Part(pd + Size), Part(pd + (2 * Size)));
        }
        add([.. o, .. logarithms, .. dx]);
    }
}
