using System.Collections.Immutable;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;
using DistTrain.Nn;
using DistTrain.Optim;

namespace DistTrain.Bench.Training;

/// <summary>
/// A training step of one worker that holds all shards, and the update of its parameter server, without the messages
/// between them: forward, loss, backward over the shard tree, update.
/// </summary>
internal sealed unsafe class LocalStep : IGradientListener, IDisposable
{
    private readonly Model _model;
    private readonly ModelRun _run;
    private readonly GradientPlan _plan;
    private readonly IOptimizer _optimizer;
    private readonly NativeBuffer _weights;
    private readonly NativeBuffer _gradient;
    private readonly NativeBuffer[] _state;
    private readonly nint[] _statePointers;
    private readonly KernelPool _pool;
    private readonly int _batch;
    private readonly double _rate;
    private readonly SegmentStats[] _stats = new SegmentStats[1];
    private long _step;

    /// <summary>Makes a model with its first weights, a batch of random examples and the optimizer's state.</summary>
    /// <param name="spec">The layers.</param>
    /// <param name="input">The shape of one example.</param>
    /// <param name="classes">What labels there are.</param>
    /// <param name="optimizer">The update.</param>
    /// <param name="batch">Examples.</param>
    /// <param name="shards">Shards of them.</param>
    /// <param name="pool">The threads.</param>
    /// <param name="vocabulary">How many token ids there are, for inputs of ids; 0 for inputs of real numbers.</param>
    public LocalStep(
        ModelSpec spec, ImmutableArray<int> input, int classes, OptimizerSpec optimizer, int batch, int shards, KernelPool pool, int vocabulary = 0)
    {
        _model = Model.Build(spec, Losses.SoftmaxCrossEntropy, input, classes, 0);
        _run = new ModelRun(_model, batch, pool, shards);
        _pool = pool;
        _batch = batch;
        _rate = optimizer.LearningRate;
        _optimizer = optimizer.Create();
        _weights = new NativeBuffer(_model.Layout.Length);
        _gradient = new NativeBuffer(_model.Layout.Length);
        _state = [.. optimizer.StateVectors.Select(_ => new NativeBuffer(_model.Layout.Length))];
        _statePointers = [.. _state.Select(s => (nint)s.Pointer)];
        _model.Initialise(1, 0, _weights.Span);
        _plan = new GradientPlan(shards) { LeafCount = shards, NodeCount = 1 };
        for (int i = 0; i <= shards; i++) _plan.LeafRows[i] = (int)((long)i * batch / shards);
        _plan.NodeLeaves[1] = shards;
        _plan.Gradients[0] = (nint)_gradient.Pointer;
        int width = input.Aggregate(1, (n, d) => n * d);
        for (int i = 0; i < batch * width; i++) _run.Input[i] = vocabulary > 0 ? (int)(KeyedUniform(i) * vocabulary) : (KeyedUniform(i) * 2) - 1;
        int labels = batch * (_model.OutputShape is [int time, _] ? time : 1);
        for (int i = 0; i < labels; i++) _run.Labels[i] = i * 7 % classes;
    }

    /// <summary>The mean loss of the last step.</summary>
    public double Loss => _stats[0].LossSum / _stats[0].WeightSum;

    /// <summary>
    /// Floating-point operations of a step's products: forward, gradients of weights, and of what all layers but the first
    /// with weights read.
    /// </summary>
    public static double Flops(ModelSpec spec, ImmutableArray<int> input, int classes, int batch)
    {
        var model = Model.Build(spec, Losses.SoftmaxCrossEntropy, input, classes, 0);
        return (double)batch * ((3 * model.Summary.Sum(l => l.Flops)) - model.Summary.First(l => l.Parameters > 0).Flops);
    }

    /// <summary>Does one step.</summary>
    public void Run()
    {
        _step++;
        _run.Forward(_weights.Pointer, _batch, new StepKey(1, _step, Training: true), _plan);
        _run.Loss(_batch, _plan, _stats);
        _run.Backward(_weights.Pointer, _batch, _plan, this);
        var context = new UpdateContext(_step, _stats[0].WeightSum, _rate);
        _optimizer.Update(context, _weights.Pointer, _gradient.Pointer, _statePointers, (int)_model.Layout.Length, _pool);
    }

    /// <inheritdoc/>
    public void Ready(long flatStart, long flatEnd)
    {
        // One process: the update waits for all of it.
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _run.Dispose();
        _weights.Dispose();
        _gradient.Dispose();
        foreach (NativeBuffer buffer in _state) buffer.Dispose();
    }

    private static float KeyedUniform(int i) => (float)(((ulong)(uint)i * 0x9E3779B97F4A7C15) >> 40) / (1 << 24);
}
