using System.Collections.Immutable;
using System.Globalization;
using DistTrain.Nn;
using DistTrain.Optim;

namespace DistTrain.Bench.Training;

/// <summary>A network that training steps are measured with, as we say it and as PyTorch does.</summary>
/// <param name="Name">In snake case; unique.</param>
/// <param name="Spec">The layers.</param>
/// <param name="Input">The shape of one example.</param>
/// <param name="Classes">What labels there are, for each example or each token.</param>
/// <param name="Optimizer">The update.</param>
/// <param name="Batch">Examples of a mini-batch.</param>
/// <param name="Torch">Python that makes <c>model</c>, and <c>x</c> and <c>y</c> of {rows} examples.</param>
/// <param name="TorchOptimizer">The optimizer's call but for its last parenthesis.</param>
internal sealed record BenchNetwork(
    string Name, ModelSpec Spec, ImmutableArray<int> Input, int Classes, OptimizerSpec Optimizer, int Batch, string Torch, string TorchOptimizer)
{
    private const string Momentum = "torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9";

    /// <summary>How many token ids there are, for inputs of ids; 0 for inputs of real numbers.</summary>
    public int Vocabulary { get; init; }

    /// <summary>Whether PyTorch is measured with images pixel by pixel too.</summary>
    public bool HasLayouts { get; init; }

    /// <summary>All of them.</summary>
    public static IReadOnlyList<BenchNetwork> All => [Mlp(784, 512, 256, 10), Mlp(784, 2048, 2048, 2048, 10), Cnn(), RowLstm(), Transformer()];

    /// <summary>Python that makes the model and so many rows.</summary>
    public string TorchSetup(int rows, bool channelsLast = false)
    {
        string setup = Torch.Replace("{rows}", rows.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal);
        return channelsLast ? setup + "\nmodel = model.to(memory_format=torch.channels_last); x = x.to(memory_format=torch.channels_last)" : setup;
    }

    /// <summary>Python that makes the optimizer, with all tensors in one call or one by one.</summary>
    public string TorchUpdate(bool together) => $"optimizer = {TorchOptimizer}{(together ? ", foreach=True)" : ")")}";

    // Dense layers with ReLU between them.
    private static BenchNetwork Mlp(params int[] widths)
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
        string torch = string.Create(CultureInfo.InvariantCulture, $$"""
            model = torch.nn.Sequential({{string.Join(", ", modules)}})
            x = torch.rand({rows}, {{widths[0]}}) * 2 - 1
            y = torch.randint({{widths[^1]}}, ({rows},))
            """);
        return new($"mlp_{string.Join('_', widths)}", new ModelSpec(layers.ToImmutable()), [widths[0]], widths[^1], new SgdSpec(0.01, 0.9), 128, torch, Momentum);
    }

    // Two convolutions with pooling, and two dense layers, over grey images of 28 by 28.
    private static BenchNetwork Cnn()
    {
        ModelSpec spec = new([
            Layers.Conv(32, 3, padding: 1), Layers.Relu(), Layers.MaxPool(2), Layers.Conv(64, 3, padding: 1), Layers.Relu(), Layers.MaxPool(2),
            Layers.Flatten(), Layers.Dense(128), Layers.Relu(), Layers.Dense(10)]);
        return new("cnn_32_64_dense_128", spec, [1, 28, 28], 10, new SgdSpec(0.01, 0.9), 128, """
            model = torch.nn.Sequential(
                torch.nn.Conv2d(1, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
                torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
                torch.nn.Flatten(), torch.nn.Linear(3136, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
            x = torch.rand({rows}, 1, 28, 28) * 2 - 1
            y = torch.randint(10, ({rows},))
            """, Momentum)
        {
            HasLayouts = true,
        };
    }

    // The 28 rows of an image, one after the other, through an LSTM of 128 units.
    private static BenchNetwork RowLstm()
    {
        ModelSpec spec = new([Layers.Reshape(28, 28), Layers.Lstm(128, returns: RecurrentReturn.Last), Layers.Dense(10)]);
        return new("lstm_28_to_128", spec, [1, 28, 28], 10, new SgdSpec(0.01, 0.9), 128, """
            class Rows(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.lstm = torch.nn.LSTM(28, 128, batch_first=True)
                    self.head = torch.nn.Linear(128, 10)
                def forward(self, x):
                    return self.head(self.lstm(x)[0][:, -1])
            model = Rows()
            x = torch.rand({rows}, 28, 28) * 2 - 1
            y = torch.randint(10, ({rows},))
            """, Momentum);
    }

    // A decoder of 4 layers, 4 heads, 128 wide, over 64 of 65 characters, its table tied to its output.
    private static BenchNetwork Transformer()
    {
        ModelSpec spec = new([
            Layers.Embedding(65, 128), Layers.Positions(), .. Enumerable.Range(0, 4).Select(_ => Layers.TransformerBlock(4, causal: true)), Layers.LayerNorm(),
            Layers.Unembed()]);
        return new("transformer_4x4x128_context_64", spec, [64], 65, new AdamSpec(1e-3, WeightDecay: 0.01, Decoupled: true), 32, """
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
            x = torch.randint(65, ({rows}, 64))
            y = torch.randint(65, ({rows} * 64,))
            """, "torch.optim.AdamW(model.parameters(), lr=1e-3")
        {
            Vocabulary = 65,
        };
    }
}
