using System.Collections.Immutable;
using System.Globalization;

namespace DistTrain.Nn;

/// <summary>
/// The network while it is built: the graph so far, the value that the next layer reads, and that value's shape. Images
/// have the shape [channels, height, width]; the data brings them plane by plane, layers keep their channels last.
/// </summary>
internal sealed class NetworkBuilder(ImmutableArray<int> input)
{
    private readonly List<Parameter> _parameters = [];
    private readonly List<LayerSummary> _summary = [];
    private bool _planes = input is [> 1, _, _];

    public LayerGraph Graph { get; } = new(Shapes.Width(input));

    public IReadOnlyList<Parameter> Parameters => _parameters;

    public IReadOnlyList<LayerSummary> Summary => _summary;

    /// <summary>The value that the next layer reads.</summary>
    public int Value { get; private set; }

    /// <summary>Its shape, for one example.</summary>
    public ImmutableArray<int> Shape { get; private set; } = input;

    /// <summary>
    /// The value with each row's length, (rows) ints, and how many positions its rows have: what the last embedding that
    /// knows its padding made of the ids. Null when there is none. See <see cref="LayerBuilder.Lengths"/>.
    /// </summary>
    public (int Value, int Time)? Lengths { get; private set; }

    /// <summary>The embeddings' tables, by their layers' names, for layers that share one.</summary>
    public List<(string Name, EmbeddingLayer Layer)> Embeddings { get; } = [];

    /// <summary>Adds layers one after the other, each named by its index behind <paramref name="prefix"/>.</summary>
    public void Sequence(ImmutableArray<LayerSpec> layers, string prefix = "")
    {
        for (int i = 0; i < layers.Length; i++)
        {
            string name = prefix + i.ToString(CultureInfo.InvariantCulture);
            layers[i].Emit(new LayerBuilder(this, name, layers[i].Kind, i + 1 < layers.Length ? layers[i + 1] : null));
        }
    }

    /// <summary>Adds branches that all read the present value; gives each one's value and shape. The present value stays.</summary>
    /// <remarks>Images that branches give have their channels last; a branch without layers gives what it reads.</remarks>
    public ImmutableArray<(int Value, ImmutableArray<int> Shape)> Branches(ImmutableArray<ImmutableArray<LayerSpec>> branches, string prefix)
    {
        (int value, ImmutableArray<int> shape, bool planes) = (Value, Shape, _planes);
        Graph.Share(value);
        var results = ImmutableArray.CreateBuilder<(int, ImmutableArray<int>)>(branches.Length);
        for (int b = 0; b < branches.Length; b++)
        {
            (Value, Shape, _planes) = (value, shape, planes);
            Sequence(branches[b], branches.Length == 1 ? prefix : $"{prefix}{b.ToString(CultureInfo.InvariantCulture)}.");
            if (Shape.Length == 3) ChannelsLast();
            Graph.Share(Value);
            results.Add((Value, Shape));
        }

        (Value, Shape, _planes) = (value, shape, planes);
        return results.ToImmutable();
    }

    /// <summary>The biases, by index, whose units go through a ReLU at once, and the ReLU layers' names.</summary>
    public List<(int Parameter, string Layer)> Rectified { get; } = [];

    /// <summary>Adds a layer that reads the present value.</summary>
    public void Append(Layer layer, string name, string kind)
    {
        if (layer is ActivationLayer { Activation: Kernels.Activation.Relu } && Graph.Nodes is [.., { } before] && before.Output == Value
            && before.Layer.Parameters.LastOrDefault(p => p is { Role: Core.Layout.TensorRole.Undecayed, Shape.Length: 1 }) is { } bias)
        {
            Rectified.Add((bias.Index, name));
        }

        Summarise(layer, name, kind);
        Value = Graph.Append(layer, Value);
        Graph.NameNew(name);
        Shape = layer.OutputShape;
    }

    /// <summary>Adds a layer that reads several values.</summary>
    public void Join(Layer layer, ImmutableArray<int> inputs, string name, string kind)
    {
        Summarise(layer, name, kind);
        Value = Graph.Add(layer, inputs);
        Graph.NameNew(name);
        Shape = layer.OutputShape;
    }

    /// <summary>Gives the present value another shape; nothing moves.</summary>
    public void View(ImmutableArray<int> shape)
    {
        Value = Graph.Append(new ViewLayer(shape), Value);
        Shape = shape;
    }

    /// <summary>Adds a layer beside the others that makes each row's length of the present value.</summary>
    public void AddLengths(Layer layer, int time) => Lengths = (Graph.Add(layer, [Value]), time);

    /// <summary>Makes sure that an image's channels are last in memory.</summary>
    public void ChannelsLast()
    {
        if (!_planes) return;
        _planes = false;
        Value = Graph.Append(new ChannelsLastLayer(Shape), Value);
    }

    /// <summary>Says how the present value, which has become images, lies in memory.</summary>
    public void ImagesLie(bool planes) => _planes = planes && Shape[0] > 1;

    public Parameter Declare(Func<int, Parameter> make)
    {
        Parameter parameter = make(_parameters.Count);
        _parameters.Add(parameter);
        return parameter;
    }

    private void Summarise(Layer layer, string name, string kind) => _summary.Add(
        new LayerSummary(name, kind, Shape, layer.OutputShape, layer.Parameters.Where(p => p.Role != Core.Layout.TensorRole.Buffer).Sum(p => (long)Shapes.Width(p.Shape)), layer.Flops));
}
