using System.Collections.Immutable;
using DistTrain.Kernels;

namespace DistTrain.Nn;

/// <summary>One layer's place in the graph: which values it reads and which it gives.</summary>
/// <param name="Layer">The layer.</param>
/// <param name="Inputs">The values it reads.</param>
/// <param name="Output">The value it gives.</param>
internal sealed record LayerNode(Layer Layer, ImmutableArray<int> Inputs, int Output);

/// <summary>
/// The network as nodes in an order in which every value is computed before it is read. Value 0 is the model's input.
/// A list of layers is the graph in which every node reads the value of the one before it; branches read one value more
/// than once.
/// </summary>
internal sealed class LayerGraph
{
    private readonly List<LayerNode> _nodes = [];
    private readonly List<int> _widths = [];
    private readonly List<bool> _trained = [];
    private readonly HashSet<int> _shared = [];
    private readonly List<string> _names = [];

    public LayerGraph(int inputWidth) => AddValue(inputWidth, trained: false);

    public IReadOnlyList<LayerNode> Nodes => _nodes;

    /// <summary>What values and gradients between layers are rounded to: see <see cref="Rounds"/>.</summary>
    public FloatFormat Precision { get; set; } = FloatFormat.Float32;

    public int ValueCount => _widths.Count;

    /// <summary>The value that the model gives.</summary>
    public int Output => _nodes.Count == 0 ? 0 : _nodes[^1].Output;

    /// <summary>The value that says how many positions of each row of <see cref="Output"/> count; null where all do.</summary>
    public int? OutputLengths { get; set; }

    /// <summary>The layer that each node was made for; one may have made several, and one node may be of several.</summary>
    public IReadOnlyList<string> Names => _names;

    /// <summary>Values of one example of a value.</summary>
    public int Width(int value) => _widths[value];

    /// <summary>Whether a parameter lies before this value, so that backward needs its gradient.</summary>
    public bool NeedsGradient(int value) => _trained[value];

    /// <summary>
    /// Whether a value is rounded to <see cref="Precision"/>: not the model's output, which the loss reads, nor what lies
    /// before all parameters (token ids, lengths).
    /// </summary>
    public bool Rounds(int value) => Precision != FloatFormat.Float32 && _trained[value] && value != Output;

    /// <summary>Says that more than one node may read this value, so that its own node must leave it as it is.</summary>
    public void Share(int value) => _shared.Add(value);

    /// <summary>Names the nodes that have no name yet.</summary>
    public void NameNew(string name)
    {
        while (_names.Count < _nodes.Count) _names.Add(name);
    }

    /// <summary>Adds a layer that reads one value, fused into the node that gives it where that can be; gives its output.</summary>
    public int Append(Layer layer, int input)
    {
        if (_nodes.Count > 0 && _nodes[^1].Output == input && !_shared.Contains(input))
        {
            if (_nodes[^1].Layer.Fuse(layer) is { } fused)
            {
                _nodes[^1] = _nodes[^1] with { Layer = fused };
                // A pooling at a convolution's end leaves fewer values.
                _widths[input] = fused.OutputWidth;
                return input;
            }

            if (_nodes[^1].Layer.HandOver(layer) is { } handed)
            {
                _nodes[^1] = _nodes[^1] with { Layer = handed.Self };
                layer = handed.Next;
            }
        }

        return Add(layer, [input]);
    }

    /// <summary>Adds a layer that reads several values; gives its output.</summary>
    public int Add(Layer layer, ImmutableArray<int> inputs)
    {
        int output = AddValue(layer.OutputWidth, inputs.Any(i => _trained[i]) || layer.Parameters.Any(p => p.Role != Core.Layout.TensorRole.Buffer));
        _nodes.Add(new LayerNode(layer, inputs, output));
        return output;
    }

    /// <summary>The place of a layer's node.</summary>
    public int IndexOf(Layer layer) => _nodes.FindIndex(n => n.Layer == layer);

    private int AddValue(int width, bool trained)
    {
        _widths.Add(width);
        _trained.Add(trained);
        return _widths.Count - 1;
    }
}
