using DistTrain.Kernels;

namespace DistTrain.Bench.Cases;

/// <summary>
/// Attention over a packed (batch, time, 3, heads, width) projection, forward and backward, against PyTorch on operands
/// that lie as it likes them best, (batch·heads, time, width): autograd, its own kernels one by one, and those into
/// memory that is already there. The work counted is that of the seven products.
/// </summary>
internal static unsafe class AttentionCases
{
    public static IEnumerable<BenchCase> All =>
    [
        Case(32, 4, 64, 32, causal: false),
        Case(32, 4, 64, 32, causal: true),
        Case(32, 4, 1024, 32, causal: false),
        Case(4, 4, 1024, 32, causal: false),
        Case(4, 4, 1024, 32, causal: true),
        Case(2, 4, 512, 64, causal: false),
    ];

    private static BenchCase Case(int batch, int heads, int times, int width, bool causal) =>
        new($"attention_{batch}x{heads}x{times}x{width}{(causal ? "_causal" : "")}", BenchUnit.Gflops, 14.0 * batch * heads * times * times * width, s =>
        {
            int row = 3 * heads * width, size = batch * times * row;
            float* x = s.Random(size), dx = s.Zeros(size), o = s.Zeros(size / 3), g = s.Random(size / 3, 2), logarithms = s.Zeros(batch * heads * times);
            float scale = 1 / MathF.Sqrt(width);
            var shape = new AttentionShape { Batch = batch, Heads = heads, Queries = times, Keys = times, Width = width, Scale = scale, Causal = causal };
            HeadsView Part(float* p, int i) => new(p + (i * heads * width), times * row, row, width);
            HeadsView Whole(float* p) => HeadsView.Contiguous(p, times, heads, width);
            s.Ours(() =>
            {
                Attention.Forward(in shape, Part(x, 0), Part(x, 1), Part(x, 2), Whole(o), logarithms);
                Attention.Backward(
                    in shape, Part(x, 0), Part(x, 1), Part(x, 2), Whole(o), logarithms, Whole(g), Part(dx, 0), Part(dx, 1), Part(dx, 2));
            });
            int n = batch * heads;
            string setup =
                $"a = torch.ops.aten\nq, k, v, g = (torch.randn({n}, {times}, {width}) for _ in range(4))\nz = torch.zeros({n}, {times}, {times})\n" +
                (causal ? $"z += torch.full(({times}, {times}), float('-inf')).triu(1)\n" : "") +
                "p, dp, ds, s = (torch.empty_like(z) for _ in range(4))\no, dq, dk, dv = (torch.empty_like(q) for _ in range(4))\n" +
                "for t in (q, k, v): t.requires_grad_()";
            string beta = causal ? "1" : "0";
            s.Torch(
                setup,
                $"torch.bmm(torch.softmax(torch.baddbmm(z, q, k.transpose(1, 2), beta={beta}, alpha={scale}), -1), v).backward(g)\n" +
                "q.grad = k.grad = v.grad = None");
            s.Torch(
                setup + "\nfor t in (q, k, v): t.requires_grad_(False)",
                $"torch.baddbmm(z, q, k.transpose(1, 2), beta={beta}, alpha={scale}, out=s)\ntorch.softmax(s, -1, out=p)\ntorch.bmm(p, v, out=o)\n" +
                "torch.bmm(p.transpose(1, 2), g, out=dv)\ntorch.bmm(g, v.transpose(1, 2), out=dp)\n" +
                $"a._softmax_backward_data.out(dp, p, 2, torch.float32, grad_input=ds)\nds.mul_({scale})\n" +
                "torch.bmm(ds, k, out=dq)\ntorch.bmm(ds.transpose(1, 2), q, out=dk)",
                "pytorch_out");
            s.FmaPeak();
        });
}
