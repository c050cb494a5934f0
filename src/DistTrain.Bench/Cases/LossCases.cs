using DistTrain.Kernels;

namespace DistTrain.Bench.Cases;

/// <summary>Softmax cross-entropy, loss and gradient, against PyTorch in three forms: autograd, its own kernels called one by one, and those into memory that is already there.</summary>
internal static unsafe class LossCases
{
    public static IEnumerable<BenchCase> All =>
    [
        CrossEntropy(128, 10),
        CrossEntropy(2048, 65),
        CrossEntropy(256, 50257),
    ];

    private static BenchCase CrossEntropy(int rows, int classes) =>
        new($"softmax_cross_entropy_{rows}x{classes}", BenchUnit.Microseconds, 1, s =>
        {
            float* x = s.Random((long)rows * classes), losses = s.Zeros(rows), dx = s.Zeros((long)rows * classes);
            int* labels = (int*)s.Zeros(rows);
            for (int i = 0; i < rows; i++) labels[i] = i * 7 % classes;
            s.Ours(() => SoftmaxCrossEntropy.Run(x, labels, rows, classes, losses, dx, null));
            string setup =
                $"a = torch.ops.aten\nx = torch.randn({rows}, {classes})\nt = torch.randint(0, {classes}, ({rows},))\n" +
                "y = x.clone(); g = x.clone(); d = x.clone(); one = torch.tensor(1.0); z = x.clone().requires_grad_()";
            s.Torch(setup, "F.cross_entropy(z, t, reduction='sum').backward()\nz.grad = None");
            s.Torch(
                setup,
                "y = a._log_softmax(x, 1, False)\nl, w = a.nll_loss_forward(y, t, None, 2, -100)\n" +
                "a._log_softmax_backward_data(a.nll_loss_backward(one, y, t, None, 2, -100, w), y, 1, torch.float32)",
                "pytorch_aten");
            s.Torch(
                setup,
                "a._log_softmax.out(x, 1, False, out=y)\nl, w = a.nll_loss_forward(y, t, None, 2, -100)\n" +
                "a.nll_loss_backward.grad_input(one, y, t, None, 2, -100, w, grad_input=g)\n" +
                "a._log_softmax_backward_data.out(g, y, 1, torch.float32, out=d)",
                "pytorch_out");
        });
}
