using System.Globalization;
using DistTrain.Kernels;

namespace DistTrain.Bench.Cases;

/// <summary>Recurrent layers, forward and backward with all gradients, against PyTorch.</summary>
internal static unsafe class RecurrentCases
{
    public static IEnumerable<BenchCase> All =>
    [
        Lstm(time: 1, batch: 128, inputs: 128, hidden: 128),
        Lstm(time: 28, batch: 128, inputs: 28, hidden: 128),
        Gru(time: 28, batch: 128, inputs: 128, hidden: 128),
    ];

    private static BenchCase Lstm(int time, int batch, int inputs, int hidden) =>
        Case("lstm", 4, time, batch, inputs, hidden, (s, o) =>
        {
            var tape = new LstmTape
            {
                Gates = s.Zeros((long)time * batch * 4 * hidden),
                States = s.Zeros((time + 1L) * batch * hidden),
                Cells = s.Zeros((time + 1L) * batch * hidden),
                CellTanhs = s.Zeros((long)time * batch * hidden),
                Room = s.Zeros(o.Shape.RoomSize(4)),
            };
            float* dCell = s.Zeros((long)batch * hidden);
            return () =>
            {
                o.PackForward();
                Kernels.Lstm.Forward(o.Shape, o.X, inputs, o.Weights, null, tape, null, 0);
                o.PackBackward();
                Kernels.Lstm.Backward(o.Shape, o.X, inputs, o.Weights, null, tape, o.DY, hidden, o.DState, dCell, o.DX, inputs, o.Leaves, o.Gradients);
            };
        });

    private static BenchCase Gru(int time, int batch, int inputs, int hidden) =>
        Case("gru", 3, time, batch, inputs, hidden, (s, o) =>
        {
            var tape = new GruTape
            {
                Gates = s.Zeros((long)time * batch * 4 * hidden),
                States = s.Zeros((time + 1L) * batch * hidden),
                Room = s.Zeros(o.Shape.RoomSize(3)),
            };
            return () =>
            {
                o.PackForward();
                Kernels.Gru.Forward(o.Shape, o.X, inputs, o.Weights, null, tape, null, 0);
                o.PackBackward();
                Kernels.Gru.Backward(o.Shape, o.X, inputs, o.Weights, null, tape, o.DY, hidden, o.DState, o.DX, inputs, o.Leaves, o.Gradients);
            };
        });

    private static BenchCase Case(
        string name, int gates, int time, int batch, int inputs, int hidden, Func<BenchSetup, Operands, Action> prepare) =>
        new(
            string.Create(CultureInfo.InvariantCulture, $"{name}_{time}x{batch}x{inputs}_to_{hidden}_train"),
            BenchUnit.Gflops,
            // Forward, data gradients and weight gradients, each over inputs and states.
            6.0 * time * batch * gates * hidden * (inputs + hidden),
            s =>
            {
                var operands = new Operands(s, new SequenceShape(time, batch, inputs, hidden), gates);
                s.Ours(prepare(s, operands));
                string layer = name.ToUpperInvariant();
                string sizes = string.Create(CultureInfo.InvariantCulture, $"x = torch.randn({time}, {batch}, {inputs}, requires_grad=True); g = torch.randn({time}, {batch}, {hidden})");
                s.Torch(
                    string.Create(CultureInfo.InvariantCulture, $"m = torch.nn.{layer}({inputs}, {hidden}); {sizes}"),
                    "m.zero_grad(set_to_none=True); x.grad = None; m(x)[0].backward(g)");
                if (time == 1)
                {
                    s.Torch(
                        string.Create(CultureInfo.InvariantCulture, $"m = torch.nn.{layer}Cell({inputs}, {hidden}); {sizes}; x0 = x.detach()[0].requires_grad_(); g0 = g[0]; h = torch.randn({batch}, {hidden}, requires_grad=True); c = torch.randn({batch}, {hidden}, requires_grad=True)"),
                        "m.zero_grad(set_to_none=True); x0.grad = h.grad = c.grad = None; torch.autograd.backward(m(x0, (h, c)), [g0, g0])",
                        "pytorch_cell");
                }
                s.FmaPeak();
            });

    /// <summary>What all layers need, with one shard for every 16 examples.</summary>
    private sealed class Operands
    {
        public readonly SequenceShape Shape;
        public readonly float* X;
        public readonly float* DX;
        public readonly float* DY;
        public readonly float* DState;
        public readonly RecurrentWeights Weights;
        public readonly RecurrentGradients Gradients;
        public readonly SequenceLeaves Leaves = new();

        public Operands(BenchSetup s, SequenceShape shape, int gates)
        {
            Shape = shape;
            long rows = (long)shape.Time * shape.Batch, units = (long)gates * shape.Hidden;
            X = s.Random(rows * shape.Inputs);
            DX = s.Zeros(rows * shape.Inputs);
            DY = s.Random(rows * shape.Hidden, 2);
            DState = s.Zeros((long)shape.Batch * shape.Hidden);
            Weights.Input = s.Random(units * shape.Inputs, 3);
            Weights.Recurrent = s.Random(units * shape.Hidden, 4);
            Weights.InputBias = s.Random(units, 5);
            Weights.RecurrentBias = s.Random(units, 6);
            Gradients.Input = s.Zeros(units * shape.Inputs);
            Gradients.Recurrent = s.Zeros(units * shape.Hidden);
            Gradients.InputBias = s.Zeros(units);
            Gradients.RecurrentBias = s.Zeros(units);
            var packed = new PackedRecurrent(gates, shape.Inputs, shape.Hidden);
            s.Own(packed);
            // Packing pays over several steps.
            if (shape.Time > 1) Weights.Packed = packed;
            Kernels.Elementwise.Scale(0.1f, Weights.Recurrent, Weights.Recurrent, (nint)(units * shape.Hidden));
            Leaves.Set(shape.Time, shape.Batch, [.. Enumerable.Range(0, (shape.Batch / 16) + 1).Select(i => i * 16)]);
        }

        public void PackForward() => Weights.Packed?.PackForward(in Weights);

        public void PackBackward() => Weights.Packed?.PackBackward(in Weights);
    }
}
