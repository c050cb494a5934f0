using System.Globalization;
using DistTrain.Kernels;

namespace DistTrain.Bench.Cases;

/// <summary>Convolution and its gradients against the FMA peak and PyTorch in both of its memory layouts.</summary>
internal static unsafe class ConvolutionCases
{
    private const int Batch = 32;

    private enum Pass
    {
        Forward,
        Data,
        Weight,
    }

    public static IEnumerable<BenchCase> All =>
    [
        .. Passes(ConvolutionShape.Square(14, 14, 32, 64, 3, padding: 1)),
        .. Passes(ConvolutionShape.Square(28, 28, 64, 64, 3, padding: 1)),
        .. Passes(ConvolutionShape.Square(14, 14, 128, 128, 3, padding: 1)),
        Case(ConvolutionShape.Square(28, 28, 1, 32, 3, padding: 1), Pass.Forward),
        Case(ConvolutionShape.Square(28, 28, 1, 32, 3, padding: 1), Pass.Weight),
        Case(ConvolutionShape.Square(28, 28, 1, 32, 3, padding: 1), Pass.Weight, leaves: 8),
        .. Passes(ConvolutionShape.Square(32, 32, 3, 16, 3, padding: 1)),
        .. Passes(ConvolutionShape.Square(28, 28, 64, 128, 3, stride: 2, padding: 1)),
        .. Passes(ConvolutionShape.Square(28, 28, 64, 64, 3, padding: 1, groups: 64)),
    ];

    private static IEnumerable<BenchCase> Passes(ConvolutionShape shape) =>
    [
        Case(shape, Pass.Forward),
        Case(shape, Pass.Data),
        Case(shape, Pass.Weight),
        Case(shape, Pass.Weight, leaves: 8),
    ];

    private static BenchCase Case(ConvolutionShape shape, Pass pass, int leaves = 1)
    {
        string kind = shape.Groups > 1 ? "_depthwise" : shape.StrideY > 1 ? "_stride2" : "";
        string leaf = pass != Pass.Weight ? "" : leaves > 1 ? "_8_leaves" : "_1_leaf";
        string name = string.Create(
            CultureInfo.InvariantCulture,
            $"conv{shape.KernelHeight}x{shape.KernelWidth}_{shape.Channels}to{shape.Outputs}_{shape.Height}x{shape.Width}{kind}_{pass}{leaf}");
        double work = 2.0 * Batch * shape.OutputLength * shape.Channels / shape.Groups * shape.KernelHeight * shape.KernelWidth;
        return new BenchCase(name.ToLowerInvariant(), BenchUnit.Gflops, work, s => Prepare(s, shape, pass, leaves));
    }

    private static void Prepare(BenchSetup s, ConvolutionShape shape, Pass pass, int leaves)
    {
        float* x = s.Random(Batch * shape.InputLength), w = s.Random(shape.WeightLength, 2), y = s.Random(Batch * shape.OutputLength, 3);
        KRange[] ranges = [.. Enumerable.Range(0, leaves).Select(i => new KRange(i * Batch / leaves, Batch / leaves))];
        int[] starts = [.. Enumerable.Range(0, leaves + 1)];
        switch (pass)
        {
            case Pass.Forward:
                float* forward = s.Zeros(Convolution.ForwardPackedLength(shape));
                Convolution.PackForward(shape, w, forward);
                s.Ours(() => Convolution.Forward(shape, Batch, x, forward, y));
                break;
            case Pass.Data:
                float* data = s.Zeros(Convolution.DataPackedLength(shape));
                Convolution.PackData(shape, w, data);
                s.Ours(() => Convolution.DataGradient(shape, Batch, y, data, x));
                break;
            default:
                s.Ours(() => Convolution.WeightGradient(shape, y, x, ranges, starts, w));
                break;
        }
        Torch(s, shape, pass, "contiguous_format", "pytorch");
        Torch(s, shape, pass, "channels_last", "pytorch_channels_last");
        s.FmaPeak();
    }

    private static void Torch(BenchSetup s, in ConvolutionShape shape, Pass pass, string format, string name)
    {
        string arguments = string.Create(
            CultureInfo.InvariantCulture,
            $"[{shape.StrideY}, {shape.StrideX}], [{shape.PadTop}, {shape.PadLeft}], [{shape.DilationY}, {shape.DilationX}]");
        string setup = string.Create(
            CultureInfo.InvariantCulture,
            $"""
            x = torch.randn({Batch}, {shape.Channels}, {shape.Height}, {shape.Width}).to(memory_format=torch.{format})
            w = torch.randn({shape.Outputs}, {shape.Channels / shape.Groups}, {shape.KernelHeight}, {shape.KernelWidth}).to(memory_format=torch.{format})
            y = torch.randn({Batch}, {shape.Outputs}, {shape.OutputHeight}, {shape.OutputWidth}).to(memory_format=torch.{format})
            """);
        string call = pass == Pass.Forward
            ? string.Create(CultureInfo.InvariantCulture, $"with torch.no_grad(): F.conv2d(x, w, None, {arguments}, {shape.Groups})")
            : string.Create(
                CultureInfo.InvariantCulture,
                $"torch.ops.aten.convolution_backward(y, x, w, None, {arguments}, False, [0, 0], {shape.Groups}, [{(pass == Pass.Data ? "True, False" : "False, True")}, False])");
        s.Torch(setup, call, name);
    }
}
