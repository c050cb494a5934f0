using DistTrain.Kernels;

namespace DistTrain.Bench.Cases;

/// <summary>Elementwise functions over 64 Ki values, against PyTorch.</summary>
internal static unsafe class ActivationCases
{
    private const int Length = 64 * 1024;

    private delegate void Unary(float* x, float* y, nint length, KernelPool? pool = null);

    public static IEnumerable<BenchCase> All =>
    [
        Case("exp", Elementwise.Exp, "torch.exp(x)"),
        Case("sigmoid", Elementwise.Sigmoid, "torch.sigmoid(x)"),
        Case("tanh", Elementwise.Tanh, "torch.tanh(x)"),
        Case("erf", Activations.Erf, "torch.erf(x)"),
        Case("gelu", Activations.Gelu, "F.gelu(x)"),
        Case("silu", Activations.Silu, "F.silu(x)"),
        Case("softplus", Activations.Softplus, "F.softplus(x)"),
    ];

    private static BenchCase Case(string name, Unary kernel, string torch) =>
        new($"{name}_64k", BenchUnit.GigabytesPerSecond, 8.0 * Length, s =>
        {
            float* x = s.Random(Length), y = s.Zeros(Length);
            Elementwise.Scale(8, x, x, Length);
            s.Ours(() => kernel(x, y, Length));
            s.Torch($"x = torch.rand({Length}) * 8 - 4", torch);
        });
}
