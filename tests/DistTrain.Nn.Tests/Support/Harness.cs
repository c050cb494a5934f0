using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Nn.Tests;

/// <summary>A model with weights, a run, and gradient buffers for any split of its rows into shards and nodes.</summary>
internal sealed unsafe class Harness : IDisposable
{
    private readonly List<NativeBuffer> _gradients = [];

    public Harness(Model model, int maxRows, KernelPool? pool = null, ulong seed = 1)
    {
        Model = model;
        Weights = new NativeBuffer(model.Layout.Length);
        model.Initialise(seed, 0, Weights.Span);
        Run = new ModelRun(model, maxRows, pool ?? KernelPool.Single);
    }

    public Model Model { get; }

    public NativeBuffer Weights { get; }

    public ModelRun Run { get; }

    public AnnouncedRanges Announced { get; } = new();

    public int Features => Model.InputShape.Aggregate(1, (a, b) => a * b);

    public int Outputs => Model.OutputShape.Aggregate(1, (a, b) => a * b);

    /// <summary>A plan whose gradients lie in buffers full of NaN.</summary>
    public GradientPlan Plan(int[] leafRows, int[] nodeLeaves)
    {
        var plan = new GradientPlan(leafRows.Length - 1) { LeafCount = leafRows.Length - 1, NodeCount = nodeLeaves.Length - 1 };
        leafRows.CopyTo(plan.LeafRows, 0);
        nodeLeaves.CopyTo(plan.NodeLeaves, 0);
        for (int leaf = 0; leaf < plan.LeafCount; leaf++) plan.LeafPositions[leaf] = leafRows[leaf];
        for (int j = 0; j < plan.NodeCount; j++)
        {
            var buffer = new NativeBuffer(Model.Layout.Length);
            buffer.Span.Fill(float.NaN);
            _gradients.Add(buffer);
            plan.Gradients[j] = (nint)buffer.Pointer;
        }

        return plan;
    }

    /// <summary>Rows [from, to) of a data set into the run's input and labels or targets.</summary>
    public void Gather(Rows rows, int from, int to)
    {
        rows.Inputs.AsSpan(from * Features, (to - from) * Features).CopyTo(new Span<float>(Run.Input, (to - from) * Features));
        int positions = Model.LossFunction.Positions;
        if (Model.HasAccuracy) rows.Labels.AsSpan(from * positions, (to - from) * positions).CopyTo(new Span<int>(Run.Labels, (to - from) * positions));
        else rows.Targets.AsSpan(from * Outputs, (to - from) * Outputs).CopyTo(new Span<float>(Run.Targets, (to - from) * Outputs));
    }

    /// <summary>Forward, loss and backward over gathered rows.</summary>
    public SegmentStats[] Step(int rows, GradientPlan plan)
    {
        var stats = new SegmentStats[plan.NodeCount];
        Announced.Clear();
        Run.Forward(Weights.Pointer, rows, new StepKey(1, 1, Training: true), plan);
        Run.Loss(rows, plan, stats);
        Run.Backward(Weights.Pointer, rows, plan, Announced);
        return stats;
    }

    public float[] Gradient(GradientPlan plan, int node) =>
        new Span<float>((float*)plan.Gradients[node], (int)Model.Layout.Length).ToArray();

    public Span<float> WeightsOf(TensorEntry tensor) => Weights.Span.Slice((int)tensor.Offset, (int)tensor.Length);

    public void Dispose()
    {
        Run.Dispose();
        Weights.Dispose();
        foreach (NativeBuffer gradient in _gradients) gradient.Dispose();
    }
}

/// <summary>Examples for tests.</summary>
internal sealed record Rows(float[] Inputs, int[] Labels, float[] Targets)
{
    public static Rows Random(Model model, int rows, int seed)
    {
        var random = new Random(seed);
        int features = model.InputShape.Aggregate(1, (a, b) => a * b);
        int outputs = model.OutputShape.Aggregate(1, (a, b) => a * b);
        float Value() => (float)((random.NextDouble() * 3) - 1.5);
        return new(
            [.. Enumerable.Range(0, rows * features).Select(_ => Value())],
            [.. Enumerable.Range(0, rows).Select(_ => random.Next(outputs))],
            [.. Enumerable.Range(0, rows * outputs).Select(_ => Value())]);
    }
}

/// <summary>Examples of token ids, with a label for each position or each row.</summary>
internal static class TokenRows
{
    /// <param name="model">What they are for.</param>
    /// <param name="rows">How many.</param>
    /// <param name="seed">Which.</param>
    /// <param name="vocabulary">Ids are below this, and above 0 but for padding.</param>
    /// <param name="padding">Whether rows end early, with the id 0; one may be nothing else.</param>
    public static Rows Random(Model model, int rows, int seed, int vocabulary, bool padding)
    {
        var random = new Random(seed);
        int time = model.InputShape[0], ids = model.InputShape.Length == 2 ? model.InputShape[1] : 1;
        var inputs = new float[rows * time * ids];
        for (int row = 0; row < rows; row++)
        {
            int length = padding ? random.Next(time + 1) : time;
            for (int i = 0; i < length * ids; i++) inputs[(row * time * ids) + i] = random.Next(1, vocabulary);
        }

        return new(inputs, [.. Enumerable.Range(0, rows * model.LossFunction.Positions).Select(_ => random.Next(model.OutputShape[^1]))], []);
    }
}

/// <summary>Remembers what was announced; room is made beforehand, so that listening allocates nothing.</summary>
internal sealed class AnnouncedRanges : IGradientListener
{
    private readonly List<(long Start, long End)> _ranges = new(64);

    public IReadOnlyList<(long Start, long End)> Ranges => _ranges;

    public void Ready(long flatStart, long flatEnd) => _ranges.Add((flatStart, flatEnd));

    public void Clear() => _ranges.Clear();
}
