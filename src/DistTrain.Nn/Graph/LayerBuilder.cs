using System.Collections.Immutable;
using DistTrain.Core;

namespace DistTrain.Nn;

/// <summary>What a layer's description sees while the model is built: its input, its neighbour, and where to declare tensors.</summary>
/// <param name="name">The layer's name: its index, as in PyTorch's Sequential.</param>
/// <param name="kind">The layer's kind, for messages.</param>
/// <param name="input">The shape of one example's input.</param>
/// <param name="next">The description of the layer that reads the output; null for the last one.</param>
/// <param name="parameters">All parameters of the model so far.</param>
internal sealed class LayerBuilder(
    string name, string kind, ImmutableArray<int> input, LayerSpec? next, List<Parameter> parameters)
{
    /// <summary>The shape of one example's input.</summary>
    public ImmutableArray<int> Input { get; } = input;

    /// <summary>The description of the layer that reads the output; null for the last one.</summary>
    public LayerSpec? Next { get; } = next;

    /// <summary>Adds a tensor to the layout.</summary>
    public Parameter Declare(string tensor, ImmutableArray<int> shape, Initialiser initialiser, int fanIn, int fanOut)
    {
        var parameter = new Parameter(parameters.Count, $"{name}.{tensor}", shape, initialiser, fanIn, fanOut);
        parameters.Add(parameter);
        return parameter;
    }

    /// <summary>An error that names the layer, what it got and what it wanted.</summary>
    public DistTrainException Refuse(string wanted, string hint) =>
        new(ExitCode.BadUsage, $"model: layer {name} ({kind}): got an input of shape {Shapes.Text(Input)}, wanted {wanted}; {hint}");
}
