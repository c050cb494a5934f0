using System.Collections.Immutable;
using System.Globalization;
using DistTrain.Kernels;
using DistTrain.Nn;
using DistTrain.Optim;

namespace DistTrain.Bench.Training;

/// <summary>What <c>bench train</c> measures: whole training steps of one worker with one thread.</summary>
public static class TrainCases
{
    private const int Batch = 128;
    private const int Shards = 8;

    /// <summary>All cases.</summary>
    public static IEnumerable<BenchCase> All =>
    [
        Mlp(784, 512, 256, 10),
        Mlp(784, 2048, 2048, 2048, 10),
    ];

    /// <summary>Dense layers with ReLU between them, softmax cross-entropy, SGD with momentum.</summary>
    private static BenchCase Mlp(params int[] widths)
    {
        // Forward, weight gradients, and data gradients of all layers but the first.
        double parameters = widths.Zip(widths.Skip(1), (i, o) => (double)i * o).Sum();
        double flops = 2.0 * Batch * ((3 * parameters) - ((double)widths[0] * widths[1]));
        string name = string.Create(CultureInfo.InvariantCulture, $"train_mlp_{string.Join('_', widths)}_batch_{Batch}");
        return new BenchCase(name, BenchUnit.Gflops, flops, s =>
        {
            ImmutableArray<LayerSpec>.Builder layers = ImmutableArray.CreateBuilder<LayerSpec>();
            var modules = new List<string>();
            for (int i = 1; i < widths.Length; i++)
            {
                if (i > 1)
                {
                    layers.Add(Layers.Relu());
                    modules.Add("torch.nn.ReLU()");
                }
                layers.Add(Layers.Dense(widths[i]));
                modules.Add(string.Create(CultureInfo.InvariantCulture, $"torch.nn.Linear({widths[i - 1]}, {widths[i]})"));
            }
            var step = new LocalStep(new ModelSpec(layers.ToImmutable()), [widths[0]], widths[^1], new SgdSpec(0.01, 0.9), Batch, Shards, KernelPool.Single);
            s.Own(step);
            s.Ours(step.Run);
            string setup = string.Create(CultureInfo.InvariantCulture, $"""
                model = torch.nn.Sequential({string.Join(", ", modules)})
                x = torch.rand({Batch}, {widths[0]}) * 2 - 1
                y = torch.randint({widths[^1]}, ({Batch},))
                """);
            const string Call = """
                optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                """;
            s.Torch($"{setup}\noptimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)", Call);
            s.Torch($"{setup}\noptimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, foreach=True)", Call, "pytorch_foreach");
            s.FmaPeak();
        });
    }
}
