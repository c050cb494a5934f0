using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Layout;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>
/// A network with its shapes inferred and checked, and its tensors laid out. It holds no weights and no buffers: those
/// are flat vectors of <see cref="ParameterLayout.Length"/> floats, and <see cref="ModelRun"/>s.
/// </summary>
public sealed class Model
{
    private readonly ImmutableArray<Parameter> _parameters;

    private Model(
        ImmutableArray<Parameter> parameters, LayerGraph graph, Loss loss, ImmutableArray<LayerSummary> summary, ImmutableArray<int> input, ImmutableArray<int> output, bool hasLabels)
    {
        _parameters = parameters;
        Graph = graph;
        LossFunction = loss;
        Summary = summary;
        InputShape = input;
        OutputShape = output;
        HasAccuracy = hasLabels;
        Layout = new ParameterLayout(parameters.Select(p => (p.Name, p.Shape, p.Role)));
        LossScale = parameters[^1] is { Name: LossScale.TensorName } state ? new LossScale(state, Layout) : null;
    }

    /// <summary>
    /// The flat parameter vector: tensors are called by their layer's index, as in PyTorch's Sequential
    /// (<c>0.weight</c>, <c>0.bias</c>), weights [out, in].
    /// </summary>
    public ParameterLayout Layout { get; }

    /// <summary>What each layer is, for people.</summary>
    public ImmutableArray<LayerSummary> Summary { get; }

    /// <summary>The shape of one example.</summary>
    public ImmutableArray<int> InputShape { get; }

    /// <summary>The shape of one example's output.</summary>
    public ImmutableArray<int> OutputShape { get; }

    /// <summary>
    /// The biases, by their place in the layout, whose units go through a ReLU at once, and the ReLU layers' names: where
    /// such a bias has no gradient, its unit gave 0 for all examples.
    /// </summary>
    public ImmutableArray<(int Tensor, string Layer)> Rectified { get; private init; } = [];

    /// <summary>Whether outputs are compared with class labels; else with real targets, and there is no accuracy.</summary>
    public bool HasAccuracy { get; }

    /// <summary>
    /// What values and gradients between layers are rounded to, and what backward's values are stored in meanwhile; sums
    /// are fp32 all the same.
    /// </summary>
    public FloatFormat Precision => Graph.Precision;

    /// <summary>How the loss's gradient is scaled, in fp16; null where it isn't.</summary>
    public LossScale? LossScale { get; }

    internal LayerGraph Graph { get; }

    internal Loss LossFunction { get; }

    /// <summary>What training minimises where labels are mixed: the same loss of soft targets. Null where they are not.</summary>
    internal Loss? MixedLoss { get; private init; }

    /// <summary>Infers all shapes and lays the tensors out.</summary>
    /// <param name="spec">The layers.</param>
    /// <param name="loss">The loss.</param>
    /// <param name="inputShape">The shape of one example.</param>
    /// <param name="classes">How many classes the labels have; null for regression.</param>
    /// <param name="targetWidth">Values of one example's target, for regression; else it is not read.</param>
    /// <param name="labels">Labels of one example, where they are classes; null doesn't compare them with the output.</param>
    /// <param name="mixesLabels">Whether training has a share of each class in place of labels (mixup, CutMix); evaluation has labels.</param>
    /// <param name="precision">What values and gradients between layers are rounded to.</param>
    /// <exception cref="DistTrainException">A layer or the loss does not fit: which, what it got, what it wanted.</exception>
    public static Model Build(
        ModelSpec spec, LossSpec loss, ImmutableArray<int> inputShape, int? classes, int targetWidth, int? labels = null,
        bool mixesLabels = false, FloatFormat precision = FloatFormat.Float32)
    {
        if (spec.Layers.IsDefaultOrEmpty) throw new DistTrainException(ExitCode.BadUsage, "model: got no layers, wanted at least one");
        var network = new NetworkBuilder(inputShape);
        network.Sequence(spec.Layers);
        if (network.Summary.Count == 0) throw new DistTrainException(ExitCode.BadUsage, "model: got no layers, wanted at least one");
        if (network.Parameters.Count == 0) throw new DistTrainException(ExitCode.BadUsage, "model: no layer has parameters, so there is nothing to train; wanted at least one such as 'dense'");
        if (network.Shape is [int time, _] && network.Lengths is { } lengths && lengths.Time == time) network.Graph.OutputLengths = lengths.Value;
        network.Graph.NameNew("the end");
        Loss compiled = loss.Compile(network.Shape, classes, targetWidth);
        if (classes is not null && labels is { } count && count != compiled.Positions)
        {
            throw new DistTrainException(
                ExitCode.BadUsage,
                $"loss: {loss.Kind}: a model output of shape {Shapes.Text(network.Shape)} takes {compiled.Positions} label{(compiled.Positions == 1 ? "" : "s")} an example, the data has {count}; {(count == 1 ? "end a model of sequences with one output for each example, such as 'mean_over_time' before the last 'dense'" : $"the model's output has to be [{count}, {classes}]")}");
        }

        network.Graph.Precision = precision;
        IEnumerable<Parameter> parameters = precision == FloatFormat.Float16 ? network.Parameters.Append(LossScale.Declare(network.Parameters.Count)) : network.Parameters;
        return new Model([.. parameters], network.Graph, compiled, [.. network.Summary], inputShape, network.Shape, classes is not null)
        {
            Rectified = [.. network.Rectified],
            MixedLoss = mixesLabels ? loss.CompileMixed(network.Shape, classes) : null,
        };
    }

    /// <summary>How far a buffer moves towards a mini-batch's mean of its statistic, by its place in the layout.</summary>
    public double BufferMomentum(int tensor) => _parameters[tensor].Momentum;

    /// <summary>
    /// Writes the initial values of the elements from <paramref name="offset"/> on of the flat vector, padding as 0.
    /// An element's value depends on the seed and its place alone, so ranges can be initialised by anyone, in any order.
    /// </summary>
    /// <param name="seed">The job's seed.</param>
    /// <param name="offset">The first element.</param>
    /// <param name="destination">Receives as many elements as it holds; they must lie within the vector.</param>
    public void Initialise(ulong seed, long offset, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + destination.Length, Layout.Length, nameof(destination));
        destination.Clear();
        long end = offset + destination.Length;
        foreach (Parameter parameter in _parameters)
        {
            TensorEntry tensor = Layout.Tensors[parameter.Index];
            long from = Math.Max(offset, tensor.Offset);
            long to = Math.Min(end, tensor.End);
            if (from >= to) continue;
            parameter.Initialiser.Fill(seed, parameter, from - tensor.Offset, destination.Slice((int)(from - offset), (int)(to - from)));
        }
    }
}
