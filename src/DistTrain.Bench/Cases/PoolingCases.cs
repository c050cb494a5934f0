using System.Globalization;
using DistTrain.Bench.Peers;
using DistTrain.Kernels;

namespace DistTrain.Bench.Cases;

/// <summary>Pooling and its gradients against PyTorch in both of its memory layouts. Bytes are those of both images.</summary>
internal static unsafe class PoolingCases
{
    private const int Batch = 32;

    public static IEnumerable<BenchCase> All =>
    [
        .. Max(PoolingShape.Square(28, 28, 32, 2)),
        .. Max(PoolingShape.Square(28, 28, 64, 3, 2, 1)),
        .. Max(PoolingShape.Square(28, 28, 1, 2)),
        .. Average(PoolingShape.Square(28, 28, 32, 2)),
        .. Average(PoolingShape.Global(7, 7, 512)),
    ];

    private static IEnumerable<BenchCase> Max(PoolingShape shape) =>
    [
        Case("max", shape, gradient: false, s =>
        {
            float* x = s.Random(Batch * shape.InputLength), y = s.Zeros(Batch * shape.OutputLength), taps = s.Zeros(Batch * shape.OutputLength);
            s.Ours(() => Pooling.Max(shape, Batch, x, y, (int*)taps));
        }),
        Case("max", shape, gradient: true, s =>
        {
            float* x = s.Random(Batch * shape.InputLength), y = s.Zeros(Batch * shape.OutputLength), taps = s.Zeros(Batch * shape.OutputLength);
            Pooling.Max(shape, Batch, x, y, (int*)taps);
            s.Ours(() => Pooling.MaxGradient(shape, Batch, y, (int*)taps, x));
        }),
    ];

    private static IEnumerable<BenchCase> Average(PoolingShape shape) =>
    [
        Case("average", shape, gradient: false, s =>
        {
            float* x = s.Random(Batch * shape.InputLength), y = s.Zeros(Batch * shape.OutputLength);
            s.Ours(() => Pooling.Average(shape, Batch, x, y, countPadding: true));
        }),
        Case("average", shape, gradient: true, s =>
        {
            float* x = s.Zeros(Batch * shape.InputLength), y = s.Random(Batch * shape.OutputLength);
            s.Ours(() => Pooling.AverageGradient(shape, Batch, y, x, countPadding: true));
        }),
    ];

    private static BenchCase Case(string kind, PoolingShape shape, bool gradient, Action<BenchSetup> ours) =>
        new(
            string.Create(
                CultureInfo.InvariantCulture,
                $"pool_{kind}{shape.KernelHeight}x{shape.KernelWidth}_stride{shape.StrideX}_{shape.Height}x{shape.Width}x{shape.Channels}_{(gradient ? "gradient" : "forward")}"),
            BenchUnit.GigabytesPerSecond,
            4.0 * Batch * (shape.InputLength + shape.OutputLength),
            s =>
            {
                ours(s);
                Torch(s, kind, shape, gradient, "contiguous_format", "pytorch");
                Torch(s, kind, shape, gradient, "channels_last", "pytorch_channels_last");
            });

    private static void Torch(BenchSetup s, string kind, in PoolingShape shape, bool gradient, string format, string name)
    {
        string window = string.Create(
            CultureInfo.InvariantCulture,
            $"[{shape.KernelHeight}, {shape.KernelWidth}], [{shape.StrideY}, {shape.StrideX}], [{shape.PadTop}, {shape.PadLeft}]");
        string setup = string.Create(
            CultureInfo.InvariantCulture,
            $"""
            x = torch.randn({Batch}, {shape.Channels}, {shape.Height}, {shape.Width}).to(memory_format=torch.{format})
            y, taps = F.max_pool2d(x, {window}, return_indices=True)
            """);
        string call = (kind, gradient) switch
        {
            ("max", false) => $"with torch.no_grad(): torch.ops.aten.max_pool2d_with_indices(x, {window})",
            ("max", true) => $"torch.ops.aten.max_pool2d_with_indices_backward(y, x, {window}, [1, 1], False, taps)",
            (_, false) => $"with torch.no_grad(): F.avg_pool2d(x, {window})",
            _ => $"torch.ops.aten.avg_pool2d_backward(y, x, {window}, False, True, None)",
        };
        s.Torch(setup, call, name);
    }
}
