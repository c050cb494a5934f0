using System.Runtime.CompilerServices;
using DistTrain.Core;
using DistTrain.Core.Layout;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// Runs a model forward and backward over up to a number of rows, in native buffers planned once; steps allocate
/// nothing. One thread at a time; kernels use the pool's threads. Results do not depend on the pool, nor on how the
/// rows of a mini-batch are spread over runs (DESIGN, I1).
/// </summary>
/// <example>
/// <code>
/// using var run = new ModelRun(model, maxRows: 128, pool);
/// // gather 'rows' examples into run.Input and run.Labels, then:
/// run.Forward(weights, rows, new StepKey(seed, step, Training: true));
/// run.Loss(rows, plan, stats);
/// run.Backward(weights, rows, plan, listener);     // plan.Gradients[j] now holds node j's gradient sums
/// </code>
/// </example>
public sealed unsafe class ModelRun : IDisposable
{
    private readonly Model _model;
    private readonly StepSchedule _schedule;
    private readonly RunBuffers _buffers;
    private readonly NativeBuffer _perRow;
    private readonly StepContext _step;
    private readonly float* _losses;
    private readonly float* _weights;
    private readonly byte* _correct;

    /// <summary>Plans the buffers.</summary>
    /// <param name="model">The model.</param>
    /// <param name="maxRows">The most rows of one pass.</param>
    /// <param name="pool">The threads to use; it outlives the run.</param>
    /// <param name="maxLeaves">The most shards of one pass; null for as many as rows, and 16 at least.</param>
    /// <param name="memory">
    /// The most bytes that values and gradients may take; where they would take more, parts of the network run forward
    /// again on the way back. Null for no limit.
    /// </param>
    /// <exception cref="DistTrainException">They don't fit, whatever runs again.</exception>
    public ModelRun(Model model, int maxRows, KernelPool pool, int? maxLeaves = null, long? memory = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(maxRows);
        MaxLeaves = maxLeaves ?? Math.Max(maxRows, 16);
        _model = model;
        MaxRows = maxRows;
        _step = new StepContext(model.Layout, pool);
        RunLayout layout = MemoryReport.Layout(model, maxRows, MaxLeaves, memory);
        _schedule = layout.Schedule;
        _buffers = new RunBuffers(layout);
        int outputs = model.Graph.Width(model.Graph.Output);
        // Targets first, so that they are aligned; then losses, weights, labels and hits, one line of slack each.
        long line = (((long)maxRows * model.LossFunction.Positions) + 15) / 16 * 16;
        long targets = (((long)maxRows * outputs) + 15) / 16 * 16;
        _perRow = new NativeBuffer(targets + (4 * line));
        Targets = _perRow.Pointer;
        _losses = Targets + targets;
        _weights = _losses + line;
        Labels = (int*)(_weights + line);
        _correct = (byte*)(Labels + line);
    }

    /// <summary>The most rows of one pass.</summary>
    public int MaxRows { get; }

    /// <summary>The most shards of one pass.</summary>
    public int MaxLeaves { get; }

    /// <summary>(rows, features): the caller gathers examples into it. 64-byte aligned; it keeps them for the step.</summary>
    public float* Input => _buffers.Input;

    /// <summary>(rows, positions): class labels from 0, which the caller fills when <see cref="Model.HasAccuracy"/>.</summary>
    public int* Labels { get; }

    /// <summary>(rows, outputs): real targets, which the caller fills when the model has no labels, or trains with mixed ones.</summary>
    public float* Targets { get; }

    /// <summary>(rows, outputs): what <see cref="Forward"/> computed last; before the loss's own softmax.</summary>
    public float* Output => _buffers.Output;

    /// <summary>Bytes of all planned buffers.</summary>
    public long Bytes => (_buffers.Length + _perRow.Length) * sizeof(float);

    /// <summary>Computes the output of the first <paramref name="rows"/> rows of the input.</summary>
    /// <param name="weights">The flat weight vector, 64-byte aligned.</param>
    /// <param name="rows">0 to <see cref="MaxRows"/>.</param>
    /// <param name="key">What the pass belongs to.</param>
    /// <param name="plan">
    /// The shards of these rows, without which layers that look at them (batch norm, dropout) can't train; not read
    /// outside training.
    /// </param>
    public void Forward(float* weights, int rows, in StepKey key, GradientPlan? plan = null)
    {
        plan?.Check(rows);
        Enter(weights, rows, key.Training ? plan : null, listener: null);
        _step.Key = key;
        IReadOnlyList<LayerNode> nodes = _model.Graph.Nodes;
        for (int i = 0; i < nodes.Count; i++)
        {
            if (!nodes[i].Layer.IsView) nodes[i].Layer.Forward(_buffers.Nodes[i], _step);
        }
    }

    /// <summary>
    /// Computes the loss and its gradient at the output, after <see cref="Forward"/> over the same rows.
    /// </summary>
    /// <param name="rows">As in <see cref="Forward"/>.</param>
    /// <param name="plan">The shards of these rows.</param>
    /// <param name="perNode">
    /// (nodes): receives the sums of each node. A shard sums its rows' losses in double, ascending; shards join along the
    /// tree. An empty shard is all +0.
    /// </param>
    public void Loss(int rows, GradientPlan plan, Span<SegmentStats> perNode)
    {
        CheckRows(rows);
        plan.Check(rows);
        Loss loss = _model.MixedLoss ?? _model.LossFunction;
        RunLoss(loss, rows, _buffers.OutputGradient);
        for (int node = 0; node < plan.NodeCount; node++)
        {
            perNode[node] = Join(loss, plan.LeafRows, new ShardRange(plan.NodeLeaves[node], plan.NodeLeaves[node + 1]));
        }
    }

    /// <summary>
    /// Says where the first NaN or infinity is after <see cref="Loss"/> had one: in a tensor of the weights, in the input,
    /// or in a layer's output, for which the pass runs once more. Null when all of it is finite.
    /// </summary>
    /// <param name="weights">The weights that <see cref="Forward"/> had.</param>
    /// <param name="rows">As in <see cref="Forward"/>.</param>
    /// <param name="plan">As in <see cref="Forward"/>.</param>
    public string? FirstNotFinite(float* weights, int rows, GradientPlan? plan)
    {
        foreach (TensorEntry tensor in _model.Layout.Tensors)
        {
            if (Found(weights + tensor.Offset, tensor.Length) is { } what) return $"tensor {tensor.Name} holds {what}";
        }

        IReadOnlyList<LayerNode> nodes = _model.Graph.Nodes;
        if (Found(Input, (long)rows * _model.Graph.Width(0)) is { } read) return $"the input holds {read}";
        Enter(weights, rows, _step.Key.Training ? plan : null, listener: null);
        for (int i = 0; i < nodes.Count; i++)
        {
            if (nodes[i].Layer.IsView) continue;
            nodes[i].Layer.Forward(_buffers.Nodes[i], _step);
            // Lengths of rows are integers.
            if (nodes[i].Layer is TokenLengthsLayer) continue;
            if (Found(_buffers.Nodes[i].Output, (long)rows * _model.Graph.Width(nodes[i].Output)) is { } what)
            {
                string name = _model.Graph.Names[i];
                string kind = _model.Summary.FirstOrDefault(l => l.Name == name)?.Kind ?? "layer";
                return $"layer {name} ({kind}) is the first whose output holds {what}";
            }
        }

        return null;
    }

    private static string? Found(float* values, long length)
    {
        for (long i = 0; i < length; i++)
        {
            if (float.IsNaN(values[i])) return "a NaN";
            if (float.IsInfinity(values[i])) return "an infinity";
        }

        return null;
    }

    /// <summary>
    /// Adds the rows of the last <see cref="Forward"/> to running sums, row by row, so that it does not matter in how
    /// many pieces a shard is evaluated.
    /// </summary>
    public void AccumulateEvaluation(int rows, ref SegmentStats running)
    {
        CheckRows(rows);
        RunLoss(_model.LossFunction, rows, gradient: null);
        Accumulate(_model.LossFunction, 0, rows, ref running);
    }

    /// <summary>
    /// Computes the gradient sums of every node of the plan, after <see cref="Loss"/> over the same rows, from the last
    /// layer to the first.
    /// </summary>
    /// <param name="weights">The weights that <see cref="Forward"/> had.</param>
    /// <param name="rows">As in <see cref="Forward"/>.</param>
    /// <param name="plan">The shards, the nodes, and where their gradients go.</param>
    /// <param name="listener">Hears of each range as soon as it is final for all nodes.</param>
    public void Backward(float* weights, int rows, GradientPlan plan, IGradientListener listener)
    {
        plan.Check(rows);
        Enter(weights, rows, plan, listener);
        IReadOnlyList<LayerNode> nodes = _model.Graph.Nodes;
        for (int i = nodes.Count - 1; i >= 0; i--)
        {
            if (_schedule.BeginsGoingBack(i)) ForwardAgain(i, plan);
            if (nodes[i].Layer.IsView) continue;
            NodeBuffers node = _buffers.Nodes[i];
            nodes[i].Layer.Backward(node, _step);
            for (int j = 0; j < node.InputCount; j++)
            {
                if (node.Sum(j) != null) Elementwise.Add(node.Sum(j), node.InputGradient(j), node.Sum(j), (nint)rows * _model.Graph.Width(nodes[i].Inputs[j]), _step.Pool);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _buffers.Dispose();
        _perRow.Dispose();
    }

    private void Enter(float* weights, int rows, GradientPlan? plan, IGradientListener? listener)
    {
        CheckRows(rows);
        if (plan?.LeafCount > MaxLeaves) throw new InvalidOperationException($"The plan has {plan.LeafCount} shards; this run has room for {MaxLeaves}.");
        _step.Weights = weights;
        _step.Rows = rows;
        _step.Plan = plan;
        _step.Listener = listener;
    }

    // The segment that ends with a node, as forward ran it.
    private void ForwardAgain(int last, GradientPlan plan)
    {
        _step.Plan = _step.Key.Training ? plan : null;
        for (int i = _schedule.SegmentFirst(last); i <= last; i++)
        {
            if (_schedule.Again(i) >= 0) _model.Graph.Nodes[i].Layer.Forward(_buffers.Nodes[i], _step);
        }

        _step.Plan = plan;
    }

    private void CheckRows(int rows, [CallerArgumentExpression(nameof(rows))] string? name = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows, name);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, MaxRows, name);
    }

    private void RunLoss(Loss loss, int rows, float* gradient) => loss.Run(new LossRows
    {
        Rows = rows,
        Output = Output,
        Labels = Labels,
        Targets = Targets,
        Losses = _losses,
        Weights = _weights,
        Correct = _correct,
        Lengths = _buffers.Lengths,
        Gradient = gradient,
        Pool = _step.Pool,
    });

    private SegmentStats Join(Loss loss, int[] leafRows, ShardRange leaves)
    {
        if (leaves.Length > 1)
        {
            int split = ShardTree.SplitPoint(leaves);
            return SegmentStats.Join(Join(loss, leafRows, leaves with { Hi = split }), Join(loss, leafRows, leaves with { Lo = split }));
        }

        SegmentStats sums = default;
        Accumulate(loss, leafRows[leaves.Lo], leafRows[leaves.Hi], ref sums);
        return sums;
    }

    // A row may have several positions (tokens), which count one by one.
    private void Accumulate(Loss loss, int from, int to, ref SegmentStats running)
    {
        // Mixed labels are nothing that a prediction could hit.
        bool hits = _model.HasAccuracy && loss != _model.MixedLoss;
        double lossSum = running.LossSum, weightSum = running.WeightSum;
        long correct = running.Correct, predictions = running.Predictions;
        for (long i = (long)from * loss.Positions; i < (long)to * loss.Positions; i++)
        {
            lossSum += _losses[i];
            weightSum += loss.WritesWeights ? _weights[i] : loss.WeightPerPosition;
            if (!hits || !loss.Counts(Labels[i])) continue;
            correct += _correct[i];
            predictions++;
        }

        running = new SegmentStats(lossSum, weightSum, correct, running.Examples + (to - from), predictions);
    }
}
