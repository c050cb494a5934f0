using System.Collections.Immutable;

namespace DistTrain.Nn;

/// <summary>One layer's place in the graph: which values it reads and which it gives.</summary>
/// <param name="Layer">The layer.</param>
/// <param name="Inputs">The values it reads.</param>
/// <param name="Output">The value it gives.</param>
internal sealed record LayerNode(Layer Layer, ImmutableArray<int> Inputs, int Output);

/// <summary>
/// The network as nodes in an order in which every value is computed before it is read. Value 0 is the model's input.
/// A list of layers is the graph in which every node reads the value of the one before it; each value has one reader.
/// </summary>
internal sealed class LayerGraph
{
    private readonly List<LayerNode> _nodes = [];
    private readonly List<int> _widths = [];
    private readonly List<bool> _trained = [];

    public LayerGraph(int inputWidth) => AddValue(inputWidth, trained: false);

    public IReadOnlyList<LayerNode> Nodes => _nodes;

    public int ValueCount => _widths.Count;

    /// <summary>The value that the model gives.</summary>
    public int Output => _nodes.Count == 0 ? 0 : _nodes[^1].Output;

    /// <summary>Values of one example of a value.</summary>
    public int Width(int value) => _widths[value];

    /// <summary>Whether a parameter lies before this value, so that backward needs its gradient.</summary>
    public bool NeedsGradient(int value) => _trained[value];

    /// <summary>Adds a layer that reads the last value, fused into the node before it where that can be.</summary>
    public void Append(Layer layer)
    {
        if (_nodes.Count > 0 && _nodes[^1].Layer.Fuse(layer) is { } fused)
        {
            _nodes[^1] = _nodes[^1] with { Layer = fused };
            return;
        }

        if (_nodes.Count > 0 && _nodes[^1].Layer.HandOver(layer) is { } shared)
        {
            _nodes[^1] = _nodes[^1] with { Layer = shared.Self };
            layer = shared.Next;
        }

        int input = Output;
        int output = AddValue(layer.OutputWidth, _trained[input] || !layer.Parameters.IsEmpty);
        _nodes.Add(new LayerNode(layer, [input], output));
    }

    private int AddValue(int width, bool trained)
    {
        _widths.Add(width);
        _trained.Add(trained);
        return _widths.Count - 1;
    }
}
