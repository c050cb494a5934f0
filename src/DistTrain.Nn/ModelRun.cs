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
        int node = 0;
        TryForward(weights, rows, key, plan, gate: null, ref node);
    }

    /// <summary>
    /// <see cref="Forward"/> as far as the weights are there: false when a layer's are not, and then to be called again with
    /// everything as it was.
    /// </summary>
    /// <param name="weights">As in <see cref="Forward"/>.</param>
    /// <param name="rows">As in <see cref="Forward"/>.</param>
    /// <param name="key">As in <see cref="Forward"/>.</param>
    /// <param name="plan">As in <see cref="Forward"/>.</param>
    /// <param name="gate">Says what is there; null for everything.</param>
    /// <param name="node">Where to go on: 0 at first, kept by the caller.</param>
    public bool TryForward(float* weights, int rows, in StepKey key, GradientPlan? plan, IWeightsGate? gate, ref int node)
    {
        plan?.Check(rows);
        Enter(weights, rows, key.Training ? plan : null, listener: null);
        _step.Key = key;
        IReadOnlyList<LayerNode> nodes = _model.Graph.Nodes;
        for (; node < nodes.Count; node++)
        {
            if (nodes[node].Layer.IsView) continue;
            if (gate is not null && !Has(gate, nodes[node].Layer)) return false;
            RunForward(node);
            if (key.Training) _buffers.Packing?.After(node, rows, _step.Pool);
        }

        // What no layer reads is read by the loss.
        return gate is null || _model.LossScale is not { } scale || gate.Has(_model.Layout.Tensors[scale.Tensor].Offset, _model.Layout.Length);
    }

    /// <summary>
    /// Computes the loss and its gradient at the output, after <see cref="Forward"/> over the same rows.
    /// </summary>
    /// <param name="rows">As in <see cref="Forward"/>.</param>
    /// <param name="plan">The shards of these rows.</param>
    /// <param name="perNode">
    /// (nodes): receives the sums of each node. A shard sums its rows' losses in double, ascending; shards join along the
    /// tree. An empty shard is all +0. Under loss scaling, losses and weights are scaled as gradients are, so that means
    /// are what they were.
    /// </param>
    public void Loss(int rows, GradientPlan plan, Span<SegmentStats> perNode)
    {
        CheckRows(rows);
        plan.Check(rows);
        Loss loss = _model.MixedLoss ?? _model.LossFunction;
        RunLoss(loss, rows, _buffers.OutputGradient);
        float scale = _model.LossScale?.Factor(_step.Weights) ?? 1;
        if (scale != 1 && _buffers.OutputGradient != null)
        {
            Elementwise.Scale(scale, _buffers.OutputGradient, _buffers.OutputGradient, (nint)rows * _model.Graph.Width(_model.Graph.Output), _step.Pool);
        }

        for (int node = 0; node < plan.NodeCount; node++)
        {
            SegmentStats stats = Join(loss, plan.LeafRows, new ShardRange(plan.NodeLeaves[node], plan.NodeLeaves[node + 1]));
            perNode[node] = stats with { LossSum = scale * stats.LossSum, WeightSum = scale * stats.WeightSum };
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
            RunForward(i);
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
        _model.LossScale?.LeaveAlone(_step);
        IReadOnlyList<LayerNode> nodes = _model.Graph.Nodes;
        for (int i = nodes.Count - 1; i >= 0; i--)
        {
            if (_schedule.BeginsGoingBack(i)) ForwardAgain(i, plan);
            if (nodes[i].Layer.IsView) continue;
            _buffers.Packing?.Before(_schedule.Back(i), rows, _step.Pool);
            NodeBuffers node = _buffers.Nodes[i];
            nodes[i].Layer.Backward(node, _step);
            for (int j = 0; j < node.InputCount; j++) FinishGradient(nodes[i].Inputs[j], node.InputGradient(j), node.Sum(j));
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
            if (_schedule.Again(i) < 0) continue;
            _buffers.Packing?.Before(_schedule.Again(i), _step.Rows, _step.Pool);
            RunForward(i);
        }

        _step.Plan = plan;
    }

    private bool Has(IWeightsGate gate, Layer layer)
    {
        foreach (Parameter parameter in layer.Parameters)
        {
            TensorEntry tensor = _model.Layout.Tensors[parameter.Index];
            if (!gate.Has(tensor.Offset, tensor.End)) return false;
        }

        return true;
    }

    private void RunForward(int i)
    {
        LayerNode node = _model.Graph.Nodes[i];
        node.Layer.Forward(_buffers.Nodes[i], _step);
        if (_model.Graph.Rounds(node.Output)) Precisions.Round(_buffers.Nodes[i].Output, _model.Graph.Precision, (nint)_step.Rows * _model.Graph.Width(node.Output), _step.Pool);
    }

    // What a node's backward gave for one of its inputs joins what later nodes gave, and is rounded as the value was.
    private void FinishGradient(int value, float* gradient, float* sum)
    {
        nint length = (nint)_step.Rows * _model.Graph.Width(value);
        if (sum != null) Elementwise.Add(sum, gradient, sum, length, _step.Pool);
        float* whole = sum != null ? sum : gradient;
        if (whole != null && _model.Graph.Rounds(value)) Precisions.Round(whole, _model.Graph.Precision, length, _step.Pool);
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
