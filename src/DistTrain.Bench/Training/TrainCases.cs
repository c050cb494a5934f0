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

    private const string Step = """
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        """;

    /// <summary>All cases.</summary>
    public static IEnumerable<BenchCase> All =>
    [
        Mlp(784, 512, 256, 10),
        Mlp(784, 2048, 2048, 2048, 10),
        Cnn(),
        RowLstm(),
        Transformer(),
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
            s.Torch($"{setup}\noptimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)", Step);
            s.Torch($"{setup}\noptimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, foreach=True)", Step, "pytorch_foreach");
            s.FmaPeak();
        });
    }

    /// <summary>Two convolutions with pooling, and two dense layers, over grey images of 28 by 28.</summary>
    private static BenchCase Cnn()
    {
        ModelSpec spec = new([
            Layers.Conv(32, 3, padding: 1), Layers.Relu(), Layers.MaxPool(2), Layers.Conv(64, 3, padding: 1), Layers.Relu(), Layers.MaxPool(2),
            Layers.Flatten(), Layers.Dense(128), Layers.Relu(), Layers.Dense(10)]);
        return new BenchCase($"train_cnn_32_64_dense_128_batch_{Batch}", BenchUnit.Gflops, LocalStep.Flops(spec, [1, 28, 28], 10, Batch), s =>
        {
            Own(s, new LocalStep(spec, [1, 28, 28], 10, new SgdSpec(0.01, 0.9), Batch, Shards, KernelPool.Single));
            foreach (bool last in (bool[])[false, true])
            {
                string layout = last ? "model = model.to(memory_format=torch.channels_last); x = x.to(memory_format=torch.channels_last)" : "";
                Peers(s, $"""
                    model = torch.nn.Sequential(
                        torch.nn.Conv2d(1, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
                        torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
                        torch.nn.Flatten(), torch.nn.Linear(3136, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
                    x = torch.rand({Batch}, 1, 28, 28) * 2 - 1
                    y = torch.randint(10, ({Batch},))
                    {layout}
                    """, last ? "pytorch_channels_last" : "pytorch");
            }
            s.FmaPeak();
        });
    }

    /// <summary>The 28 rows of an image, one after the other, through an LSTM of 128 units.</summary>
    private static BenchCase RowLstm()
    {
        ModelSpec spec = new([Layers.Reshape(28, 28), Layers.Lstm(128, returns: RecurrentReturn.Last), Layers.Dense(10)]);
        return new BenchCase($"train_lstm_28_to_128_batch_{Batch}", BenchUnit.Gflops, LocalStep.Flops(spec, [1, 28, 28], 10, Batch), s =>
        {
            Own(s, new LocalStep(spec, [1, 28, 28], 10, new SgdSpec(0.01, 0.9), Batch, Shards, KernelPool.Single));
            Peers(s, $"""
                class Rows(torch.nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.lstm = torch.nn.LSTM(28, 128, batch_first=True)
                        self.head = torch.nn.Linear(128, 10)
                    def forward(self, x):
                        return self.head(self.lstm(x)[0][:, -1])
                model = Rows()
                x = torch.rand({Batch}, 28, 28) * 2 - 1
                y = torch.randint(10, ({Batch},))
                """, "pytorch");
            s.FmaPeak();
        });
    }

    /// <summary>A decoder of 4 layers, 4 heads, 128 wide, over 64 of 65 characters, its table tied to its output.</summary>
    private static BenchCase Transformer()
    {
        const int Sequences = 32;
        ModelSpec spec = new([
            Layers.Embedding(65, 128), Layers.Positions(), .. Enumerable.Range(0, 4).Select(_ => Layers.TransformerBlock(4, causal: true)), Layers.LayerNorm(),
            Layers.Unembed()]);
        return new BenchCase($"train_transformer_4x4x128_context_64_batch_{Sequences}", BenchUnit.Gflops, LocalStep.Flops(spec, [64], 65, Sequences), s =>
        {
            Own(s, new LocalStep(spec, [64], 65, new AdamSpec(1e-3, WeightDecay: 0.01, Decoupled: true), Sequences, Shards, KernelPool.Single, vocabulary: 65));
            string setup = $"""
                class Block(torch.nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.norm1, self.norm2 = torch.nn.LayerNorm(128), torch.nn.LayerNorm(128)
                        self.qkv, self.out = torch.nn.Linear(128, 384), torch.nn.Linear(128, 128)
                        self.up, self.down = torch.nn.Linear(128, 512), torch.nn.Linear(512, 128)
                        self.register_buffer('mask', torch.triu(torch.full((64, 64), float('-inf')), 1))
                    def forward(self, x):
                        b = x.shape[0]
                        q, k, v = self.qkv(self.norm1(x)).view(b, 64, 3, 4, 32).permute(2, 0, 3, 1, 4).reshape(3, b * 4, 64, 32)
                        p = torch.softmax(torch.baddbmm(self.mask, q, k.transpose(1, 2), alpha=32 ** -0.5), dim=-1)
                        a = torch.bmm(p, v).view(b, 4, 64, 32).transpose(1, 2).reshape(b, 64, 128)
                        x = x + self.out(a)
                        return x + self.down(F.gelu(self.up(self.norm2(x))))
                class Characters(torch.nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.table, self.places = torch.nn.Embedding(65, 128), torch.nn.Parameter(torch.randn(64, 128) * 0.02)
                        self.blocks, self.norm = torch.nn.Sequential(*[Block() for _ in range(4)]), torch.nn.LayerNorm(128)
                    def forward(self, x):
                        return F.linear(self.norm(self.blocks(self.table(x) + self.places)), self.table.weight).view(-1, 65)
                model = Characters()
                x = torch.randint(65, ({Sequences}, 64))
                y = torch.randint(65, ({Sequences * 64},))
                """;
            s.Torch($"{setup}\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)", Step);
            s.Torch($"{setup}\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=True)", Step, "pytorch_foreach");
            s.FmaPeak();
        });
    }

    private static void Own(BenchSetup s, LocalStep step)
    {
        s.Own(step);
        s.Ours(step.Run);
    }

    // SGD with momentum, in both of PyTorch's forms.
    private static void Peers(BenchSetup s, string setup, string name)
    {
        s.Torch($"{setup}\noptimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)", Step, name);
        s.Torch($"{setup}\noptimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, foreach=True)", Step, name + "_foreach");
    }
}
