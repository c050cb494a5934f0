using System.Collections.Immutable;
using System.Globalization;
using DistTrain.Core;
using DistTrain.Core.Layout;

namespace DistTrain.Nn;

/// <summary>
/// A network with its shapes inferred and checked, and its tensors laid out. It holds no weights and no buffers: those
/// are flat vectors of <see cref="ParameterLayout.Length"/> floats, and <see cref="ModelRun"/>s.
/// </summary>
public sealed class Model
{
    private readonly ImmutableArray<Parameter> _parameters;

    private Model(
        ImmutableArray<Parameter> parameters, LayerGraph graph, Loss loss, ImmutableArray<LayerSummary> summary, ImmutableArray<int> input, bool hasLabels)
    {
        _parameters = parameters;
        Graph = graph;
        LossFunction = loss;
        Summary = summary;
        InputShape = input;
        OutputShape = summary[^1].OutputShape;
        HasAccuracy = hasLabels;
        Layout = new ParameterLayout(parameters.Select(p => (p.Name, p.Shape, TensorRole.Parameter)));
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

    /// <summary>Whether outputs are compared with class labels; else with real targets, and there is no accuracy.</summary>
    public bool HasAccuracy { get; }

    internal LayerGraph Graph { get; }

    internal Loss LossFunction { get; }

    /// <summary>Infers all shapes and lays the tensors out.</summary>
    /// <param name="spec">The layers.</param>
    /// <param name="loss">The loss.</param>
    /// <param name="inputShape">The shape of one example.</param>
    /// <param name="classes">How many classes the labels have; null for regression.</param>
    /// <param name="targetWidth">Values of one example's target, for regression; else it is not read.</param>
    /// <exception cref="DistTrainException">A layer or the loss does not fit: which, what it got, what it wanted.</exception>
    public static Model Build(ModelSpec spec, LossSpec loss, ImmutableArray<int> inputShape, int? classes, int targetWidth)
    {
        if (spec.Layers.IsDefaultOrEmpty) throw new DistTrainException(ExitCode.BadUsage, "model: got no layers, wanted at least one");
        var parameters = new List<Parameter>();
        var graph = new LayerGraph(Shapes.Width(inputShape));
        var summary = ImmutableArray.CreateBuilder<LayerSummary>(spec.Layers.Length);
        ImmutableArray<int> shape = inputShape;
        for (int i = 0; i < spec.Layers.Length; i++)
        {
            LayerSpec described = spec.Layers[i];
            string name = i.ToString(CultureInfo.InvariantCulture);
            var builder = new LayerBuilder(name, described.Kind, shape, i + 1 < spec.Layers.Length ? spec.Layers[i + 1] : null, parameters);
            Layer layer = described.Compile(builder);
            graph.Append(layer);
            summary.Add(new LayerSummary(name, described.Kind, shape, layer.OutputShape, layer.Parameters.Sum(p => Count(p.Shape)), layer.Flops));
            shape = layer.OutputShape;
        }

        if (parameters.Count == 0) throw new DistTrainException(ExitCode.BadUsage, "model: no layer has parameters, so there is nothing to train; wanted at least one such as 'dense'");
        return new Model([.. parameters], graph, loss.Compile(shape, classes, targetWidth), summary.ToImmutable(), inputShape, classes is not null);
    }

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

    private static long Count(ImmutableArray<int> shape)
    {
        long n = 1;
        foreach (int d in shape) n = checked(n * d);
        return n;
    }
}
