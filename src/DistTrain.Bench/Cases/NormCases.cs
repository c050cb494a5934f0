using DistTrain.Kernels;

namespace DistTrain.Bench.Cases;

/// <summary>Norms, forward and backward with all gradients, eight shards, against PyTorch: autograd, and its own kernels called one by one.</summary>
internal static unsafe class NormCases
{
    private const int Leaves = 8;

    public static IEnumerable<BenchCase> All =>
    [
        Layer(2048, 128),
        Layer(2048, 768),
        Batch(32, 14, 64),
        Group(32, 14, 64, 8),
    ];

    private static BenchCase Layer(int rows, int features) =>
        new($"layer_norm_{rows}x{features}", BenchUnit.Microseconds, 1, s =>
        {
            long size = (long)rows * features;
            float* x = s.Random(size), g = s.Random(size, 2), y = s.Zeros(size), dx = s.Zeros(size), means = s.Zeros(rows), r = s.Zeros(rows);
            float* scale = s.Random(features, 3), shift = s.Random(features, 4), dScale = s.Zeros(features), dShift = s.Zeros(features);
            (KRange[] ranges, int[] starts) = Shards(rows);
            s.Ours(() =>
            {
                LayerNorm.Forward(x, rows, features, scale, shift, 1e-5f, y, means, r);
                LayerNorm.Backward(g, x, features, scale, means, r, ranges, starts, dx, dScale, dShift);
            });
            string setup =
                $"a = torch.ops.aten\nx = torch.randn({rows}, {features}); g = torch.randn({rows}, {features})\nw = torch.randn({features}); b = torch.randn({features})\n" +
                "z, u, v = (t.clone().requires_grad_() for t in (x, w, b))";
            s.Torch(setup, $"F.layer_norm(z, ({features},), u, v).backward(g)\nz.grad = u.grad = v.grad = None");
            s.Torch(
                setup,
                $"y, m, r = a.native_layer_norm(x, ({features},), w, b, 1e-5)\n" +
                $"a.native_layer_norm_backward(g, x, ({features},), m, r, w, b, (True, True, True))",
                "pytorch_aten");
        });

    private static BenchCase Batch(int examples, int side, int channels) =>
        new($"batch_norm_{examples}x{side}x{side}x{channels}", BenchUnit.Microseconds, 1, s =>
        {
            int rows = examples * side * side;
            long size = (long)rows * channels;
            float* x = s.Random(size), g = s.Random(size, 2), y = s.Zeros(size), dx = s.Zeros(size), means = s.Zeros(Leaves * channels);
            float* r = s.Zeros(Leaves * channels), sums = s.Zeros(2 * channels), mean = s.Zeros(channels), variance = s.Zeros(channels);
            float* scale = s.Random(channels, 3), shift = s.Random(channels, 4), dScale = s.Zeros(channels), dShift = s.Zeros(channels);
            (KRange[] ranges, int[] starts) = Shards(rows);
            s.Ours(() =>
            {
                BatchNorm.Forward(x, channels, ranges, starts, scale, shift, 1e-5f, mean, variance, y, means, r, sums);
                BatchNorm.Backward(g, x, channels, ranges, starts, scale, means, r, dx, dScale, dShift);
            });
            Images(s, examples, side, channels, "F.batch_norm(z, m, n, u, v, training=True)");
        });

    private static BenchCase Group(int examples, int side, int channels, int groups) =>
        new($"group_norm_{examples}x{side}x{side}x{channels}_by_{groups}", BenchUnit.Microseconds, 1, s =>
        {
            int positions = side * side;
            long size = (long)examples * positions * channels;
            float* x = s.Random(size), g = s.Random(size, 2), y = s.Zeros(size), dx = s.Zeros(size), means = s.Zeros(examples * groups), r = s.Zeros(examples * groups);
            float* scale = s.Random(channels, 3), shift = s.Random(channels, 4), dScale = s.Zeros(channels), dShift = s.Zeros(channels);
            (KRange[] ranges, int[] starts) = Shards(examples);
            s.Ours(() =>
            {
                GroupNorm.Forward(x, examples, positions, channels, groups, scale, shift, 1e-5f, y, means, r);
                GroupNorm.Backward(g, x, examples, positions, channels, groups, scale, means, r, ranges, starts, dx, dScale, dShift);
            });
            Images(s, examples, side, channels, $"F.group_norm(z, {groups}, u, v)");
        });

    /// <summary>PyTorch in both memory layouts.</summary>
    private static void Images(BenchSetup s, int examples, int side, int channels, string call)
    {
        foreach (string layout in (string[])["contiguous_format", "channels_last"])
        {
            s.Torch(
                $"x = torch.randn({examples}, {channels}, {side}, {side}).to(memory_format=torch.{layout}); g = torch.randn_like(x)\n" +
                $"u, v = torch.randn({channels}).requires_grad_(), torch.randn({channels}).requires_grad_()\nm, n = torch.zeros({channels}), torch.ones({channels})\n" +
                "z = x.requires_grad_()",
                $"{call}.backward(g)\nz.grad = u.grad = v.grad = None",
                layout == "channels_last" ? "pytorch_nhwc" : "pytorch");
        }
    }

    private static (KRange[] Ranges, int[] Starts) Shards(int rows) =>
        ([.. Enumerable.Range(0, Leaves).Select(i => new KRange(i * rows / Leaves, rows / Leaves))], [.. Enumerable.Range(0, Leaves + 1)]);
}
