using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Nn.Tests;

/// <summary>Mixed precision: values between layers in 16 bits, sums in fp32.</summary>
[Collection(ProcessWideState.Name)]
public sealed unsafe class PrecisionTests
{
    private const int Rows = 16;
    private const int Shards = 4;

    public static TheoryData<string, FloatFormat> Cases
    {
        get
        {
            var cases = new TheoryData<string, FloatFormat>();
            foreach (string name in (string[])["mlp", "images", "tokens"])
            {
                cases.Add(name, FloatFormat.BFloat16);
                cases.Add(name, FloatFormat.Float16);
            }

            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Step_InHalves_IsCloseToFp32AndTakesLessMemory(string name, FloatFormat precision)
    {
        Model model = Named(name, FloatFormat.Float32);
        Result exact = Step(model, null), half = Step(Named(name, precision), null);
        double scale = precision == FloatFormat.Float16 ? 1024 : 1;

        Assert.NotEqual(exact.Loss, half.Loss / scale);
        Assert.InRange(half.Loss / scale / exact.Loss, 0.99, 1.01);
        double dot = 0, a = 0, b = 0;
        for (int i = 0; i < exact.Gradient.Length; i++)
        {
            // Statistics are not scaled.
            if (model.Layout.Tensors.Any(t => t.Role == TensorRole.Buffer && i >= t.Offset && i < t.End)) continue;
            double g = half.Gradient[i] / scale;
            (dot, a, b) = (dot + (exact.Gradient[i] * g), a + (exact.Gradient[i] * (double)exact.Gradient[i]), b + (g * g));
        }

        Assert.True(dot / Math.Sqrt(a * b) > 0.995, $"cosine {dot / Math.Sqrt(a * b)}");
        Assert.InRange(Math.Sqrt(b / a), 0.97, 1.03);
        Assert.True(half.Bytes < 0.85 * exact.Bytes, $"{half.Bytes} of {exact.Bytes}");
    }

    // Where something runs again its values aren't packed, so this compares packed with unpacked ones too.
    [Theory]
    [MemberData(nameof(Cases))]
    public void Step_AtAnyMemory_HasTheSameBits(string name, FloatFormat precision)
    {
        Model model = Named(name, precision);
        Result whole = Step(model, null);
        long least = MemoryPlanner.Smallest(model.Graph, Rows, Shards).Length * sizeof(float);
        foreach (double share in (double[])[0.95, 0.85, 0.75, 0.6])
        {
            Result some = Step(model, Math.Max((long)(share * MemoryReport.Of(model, Rows, Shards, null).Bytes), least));
            Assert.Equal(whole.Loss, some.Loss);
            Assert.Equal(whole.Gradient.Select(BitConverter.SingleToInt32Bits), some.Gradient.Select(BitConverter.SingleToInt32Bits));
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Step_AtAnyWidth_HasTheSameBits(string name, FloatFormat precision)
    {
        Model model = Named(name, precision);
        Result expected = Step(model, null);
        foreach (SimdLevel level in (SimdLevel[])[SimdLevel.Vector256, SimdLevel.Vector128, SimdLevel.Scalar])
        {
            using var forced = SimdPath.Force(level);
            Assert.Equal(expected.Gradient.Select(BitConverter.SingleToInt32Bits), Step(model, null).Gradient.Select(BitConverter.SingleToInt32Bits));
        }
    }

    [Fact]
    public void Step_AfterWarmUp_AllocatesNothing()
    {
        Model model = Named("images", FloatFormat.Float16);
        long allocated = 0;
        Step(model, null, bytes => allocated = bytes);
        Assert.Equal(0, allocated);
    }

    [Fact]
    public void TokenIds_BeyondTheFormatsIntegers_StayWhole()
    {
        // 511 and 510 are one number in bf16.
        Model model = Model.Build(
            new([Layers.Embedding(512, 4), Layers.Flatten(), Layers.Dense(2)]), Losses.SoftmaxCrossEntropy, [1], 2, 0, precision: FloatFormat.BFloat16);
        using var weights = new NativeBuffer(model.Layout.Length);
        model.Initialise(1, 0, weights.Span);
        using var run = new ModelRun(model, 2, KernelPool.Single);
        (run.Input[0], run.Input[1]) = (510, 511);
        run.Forward(weights.Pointer, 2, default);
        Assert.NotEqual(run.Output[0], run.Output[2]);
    }

    [Fact]
    public void LossScale_OverflowAndGoodSteps_HalvesAndDoubles()
    {
        float[] state = [10, 1999];
        LossScale.Advance(state, overflow: false);
        Assert.Equal([11f, 0f], state);
        LossScale.Advance(state, overflow: false);
        LossScale.Advance(state, overflow: true);
        Assert.Equal([10f, 0f], state);
        for (int i = 0; i < 100; i++) LossScale.Advance(state, overflow: true);
        Assert.Equal(-14, state[0]);
    }

    private static Model Named(string name, FloatFormat precision) => name switch
    {
        "mlp" => Model.Build(
            new([.. Enumerable.Range(0, 12).SelectMany(_ => new[] { Layers.Dense(64), Layers.Gelu() }), Layers.Dense(3)]), Losses.SoftmaxCrossEntropy, [20], 3, 0, precision: precision),
        "images" => Model.Build(
            new([
                Layers.Conv(8, 3, padding: 1), Layers.BatchNorm(), Layers.Relu(),
                Layers.Residual([Layers.Conv(8, 3, padding: 1), Layers.BatchNorm(), Layers.Relu(), Layers.Conv(8, 3, padding: 1), Layers.BatchNorm()]), Layers.Relu(),
                Layers.Residual([Layers.Conv(8, 3, padding: 1), Layers.BatchNorm(), Layers.Relu(), Layers.Conv(8, 3, padding: 1), Layers.BatchNorm()]), Layers.Relu(),
                Layers.MaxPool(2), Layers.Flatten(), Layers.Dense(3)]),
            Losses.SoftmaxCrossEntropy, [2, 8, 8], 3, 0, precision: precision),
        _ => Model.Build(
            new([Layers.Embedding(300, 16), Layers.TransformerBlock(2), Layers.TransformerBlock(2), Layers.TransformerBlock(2), Layers.LayerNorm(), Layers.MeanOverTime(), Layers.Dense(3)]),
            Losses.SoftmaxCrossEntropy, [9], 3, 0, precision: precision),
    };

    private readonly record struct Result(float[] Gradient, double Loss, long Bytes);

    // The gradient without the loss scale's own buffer, as the layout of fp32 has it.
    private static Result Step(Model model, long? memory, Action<long>? allocated = null)
    {
        using var weights = new NativeBuffer(model.Layout.Length);
        using var gradient = new NativeBuffer(model.Layout.Length);
        model.Initialise(3, 0, weights.Span);
        Precisions.Round(weights.Pointer, model.Precision, (nint)weights.Length);
        using var run = new ModelRun(model, Rows, KernelPool.Single, Shards, memory);
        var plan = new GradientPlan(Shards) { LeafCount = Shards, NodeCount = 1 };
        for (int i = 0; i <= Shards; i++) plan.LeafRows[i] = i * Rows / Shards;
        plan.NodeLeaves[1] = Shards;
        plan.Gradients[0] = (nint)gradient.Pointer;
        var random = new Random(1);
        int width = model.InputShape.Aggregate(1, (n, d) => n * d);
        for (int i = 0; i < Rows * width; i++) run.Input[i] = model.InputShape is [9] ? random.Next(300) : random.NextSingle() - 0.5f;
        for (int i = 0; i < Rows; i++) run.Labels[i] = random.Next(3);
        var stats = new SegmentStats[1];
        var listener = new Listener();
        void Once()
        {
            run.Forward(weights.Pointer, Rows, new StepKey(3, 1, Training: true), plan);
            run.Loss(Rows, plan, stats);
            run.Backward(weights.Pointer, Rows, plan, listener);
        }

        Once();
        if (allocated is not null)
        {
            for (int i = 0; i < 20; i++) Once();
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 5; i++) Once();
            allocated(GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(model.Layout.Length, listener.Announced / (allocated is null ? 1 : 26));
        long length = model.LossScale is { } scale ? model.Layout.Tensors[scale.Tensor].Offset : model.Layout.Length;
        return new Result(gradient.Span[..(int)length].ToArray(), stats[0].LossSum, run.Bytes);
    }

    private sealed class Listener : IGradientListener
    {
        public long Announced { get; private set; }

        public void Ready(long offset, long end) => Announced += end - offset;
    }
}
