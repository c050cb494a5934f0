using System.Runtime.CompilerServices;
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
    private readonly RunBuffers _buffers;
    private readonly NativeBuffer _perRow;
    private readonly StepContext _step;
    private readonly float* _losses;
    private readonly byte* _correct;

    /// <summary>Plans the buffers.</summary>
    /// <param name="model">The model.</param>
    /// <param name="maxRows">The most rows of one pass.</param>
    /// <param name="pool">The threads to use; it outlives the run.</param>
    public ModelRun(Model model, int maxRows, KernelPool pool)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(maxRows);
        _model = model;
        MaxRows = maxRows;
        _step = new StepContext(model.Layout, pool);
        _buffers = new RunBuffers(model.Graph, maxRows);
        int outputs = model.Graph.Width(model.Graph.Output);
        // Targets first, so that they are aligned; then losses, labels and hits, one line of slack each.
        long line = (maxRows + 15L) / 16 * 16;
        long targets = (((long)maxRows * outputs) + 15) / 16 * 16;
        _perRow = new NativeBuffer(targets + (3 * line));
        Targets = _perRow.Pointer;
        _losses = Targets + targets;
        Labels = (int*)(_losses + line);
        _correct = (byte*)(Labels + line);
    }

    /// <summary>The most rows of one pass.</summary>
    public int MaxRows { get; }

    /// <summary>(rows, features): the caller gathers examples into it. 64-byte aligned; it keeps them for the step.</summary>
    public float* Input => _buffers.Input;

    /// <summary>(rows): class labels from 0, which the caller fills when <see cref="Model.HasAccuracy"/>.</summary>
    public int* Labels { get; }

    /// <summary>(rows, outputs): real targets, which the caller fills when the model has no labels.</summary>
    public float* Targets { get; }

    /// <summary>(rows, outputs): what <see cref="Forward"/> computed last; before the loss's own softmax.</summary>
    public float* Output => _buffers.Output;

    /// <summary>Bytes of all planned buffers.</summary>
    public long Bytes => (_buffers.Length + _perRow.Length) * sizeof(float);

    /// <summary>Computes the output of the first <paramref name="rows"/> rows of the input.</summary>
    /// <param name="weights">The flat weight vector, 64-byte aligned.</param>
    /// <param name="rows">0 to <see cref="MaxRows"/>.</param>
    /// <param name="key">What the pass belongs to.</param>
    public void Forward(float* weights, int rows, in StepKey key)
    {
        Enter(weights, rows, plan: null, listener: null);
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
        RunLoss(rows, _buffers.OutputGradient);
        for (int node = 0; node < plan.NodeCount; node++)
        {
            perNode[node] = Join(plan.LeafRows, new ShardRange(plan.NodeLeaves[node], plan.NodeLeaves[node + 1]));
        }
    }

    /// <summary>
    /// Adds the rows of the last <see cref="Forward"/> to running sums, row by row, so that it does not matter in how
    /// many pieces a shard is evaluated.
    /// </summary>
    public void AccumulateEvaluation(int rows, ref SegmentStats running)
    {
        CheckRows(rows);
        RunLoss(rows, gradient: null);
        Accumulate(0, rows, ref running);
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
            if (!nodes[i].Layer.IsView) nodes[i].Layer.Backward(_buffers.Nodes[i], _step);
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
        _step.Weights = weights;
        _step.Rows = rows;
        _step.Plan = plan;
        _step.Listener = listener;
    }

    private void CheckRows(int rows, [CallerArgumentExpression(nameof(rows))] string? name = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows, name);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, MaxRows, name);
    }

    private void RunLoss(int rows, float* gradient) => _model.LossFunction.Run(new LossRows
    {
        Rows = rows,
        Output = Output,
        Labels = Labels,
        Targets = Targets,
        Losses = _losses,
        Correct = _correct,
        Gradient = gradient,
        Pool = _step.Pool,
    });

    private SegmentStats Join(int[] leafRows, ShardRange leaves)
    {
        if (leaves.Length > 1)
        {
            int split = ShardTree.SplitPoint(leaves);
            return SegmentStats.Join(Join(leafRows, leaves with { Hi = split }), Join(leafRows, leaves with { Lo = split }));
        }

        SegmentStats sums = default;
        Accumulate(leafRows[leaves.Lo], leafRows[leaves.Hi], ref sums);
        return sums;
    }

    private void Accumulate(int from, int to, ref SegmentStats running)
    {
        double loss = running.LossSum;
        long correct = running.Correct;
        for (int row = from; row < to; row++)
        {
            loss += _losses[row];
            if (_model.HasAccuracy) correct += _correct[row];
        }

        double weight = running.WeightSum + ((double)(to - from) * _model.LossFunction.WeightPerRow);
        running = new SegmentStats(loss, weight, correct, running.Examples + (to - from));
    }
}
