using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Layout;

namespace DistTrain.Nn;

/// <summary>What a layer's description sees while the model is built: its input, its neighbour, and where to declare tensors.</summary>
/// <param name="network">The network so far.</param>
/// <param name="name">The layer's name: its index, as in PyTorch's Sequential.</param>
/// <param name="kind">The layer's kind, for messages.</param>
/// <param name="next">The description of the layer that reads the output; null for the last one.</param>
internal sealed class LayerBuilder(NetworkBuilder network, string name, string kind, LayerSpec? next)
{
    /// <summary>The network so far, for layers that are several.</summary>
    public NetworkBuilder Network { get; } = network;

    /// <summary>The layer's name.</summary>
    public string Name { get; } = name;

    /// <summary>The layer's kind.</summary>
    public string Kind { get; } = kind;

    /// <summary>The shape of one example's input.</summary>
    public ImmutableArray<int> Input { get; } = network.Shape;

    /// <summary>The description of the layer that reads the output; null for the last one.</summary>
    public LayerSpec? Next { get; } = next;

    /// <summary>Adds a tensor to the layout that weight decay applies to.</summary>
    public Parameter Declare(string tensor, ImmutableArray<int> shape, Initialiser initialiser, int fanIn, int fanOut) =>
        Declare(tensor, shape, initialiser, fanIn, fanOut, TensorRole.Parameter);

    /// <summary>Adds a tensor to the layout.</summary>
    public Parameter Declare(string tensor, ImmutableArray<int> shape, Initialiser initialiser, int fanIn, int fanOut, TensorRole role) =>
        Network.Declare(index => new Parameter(index, $"{Name}.{tensor}", shape, initialiser, fanIn, fanOut, role));

    /// <summary>Adds a buffer to the layout, which follows a statistic of each step with a momentum.</summary>
    public Parameter DeclareBuffer(string tensor, ImmutableArray<int> shape, Initialiser initialiser, double momentum) =>
        Network.Declare(index => new Parameter(index, $"{Name}.{tensor}", shape, initialiser, 1, 1, TensorRole.Buffer) { Momentum = momentum });

    /// <summary>The shape of an input that has to be images, [channels, height, width], whose channels now come last in memory.</summary>
    public (int Channels, int Height, int Width) Images()
    {
        if (Input is not [int channels, int height, int width]) throw Refuse("images, [channels, height, width]", "put it before 'flatten', or 'reshape' the input");
        Network.ChannelsLast();
        return (channels, height, width);
    }

    /// <summary>The shape of an input that has to be sequences, [time, features]; a grey image is the sequence of its rows.</summary>
    public (int Time, int Features) Sequences(string hint = "put 'embedding' before it, or 'reshape' the input")
    {
        if (Input is not ([_, _] or [1, _, _])) throw Refuse("sequences, [time, features]", hint);
        if (Input.Length == 3) Network.View([Input[1], Input[2]]);
        return (Input[^2], Input[^1]);
    }

    /// <summary>The value with each row's length, for a layer over so many positions; null where rows have no padding.</summary>
    public int? Lengths(int time) => Network.Lengths is { } lengths && lengths.Time == time ? lengths.Value : null;

    /// <summary>Adds a layer whose second input is each row's length, where there is padding.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="time">Positions of a row.</param>
    /// <param name="suffix">What its name has behind this layer's, where there are several.</param>
    public void AppendSequence(Layer layer, int time, string suffix = "")
    {
        if (Lengths(time) is { } lengths) Network.Join(layer, [Network.Value, lengths], Name + suffix, Kind);
        else Network.Append(layer, Name + suffix, Kind);
    }

    /// <summary>Adds another description's layers as a part of this one, its tensors' names behind this one's.</summary>
    public void Emit(string part, LayerSpec spec, LayerSpec? next = null) => spec.Emit(new LayerBuilder(Network, $"{Name}.{part}", spec.Kind, next));

    /// <summary>
    /// How many positions an example has and how many channels each: [n] is one position, [time, features] has the time
    /// steps, images have their pixels, channels last.
    /// </summary>
    public (int Positions, int Channels) Channels()
    {
        if (Input is [int channels, int height, int width])
        {
            Network.ChannelsLast();
            return (height * width, channels);
        }

        return Input switch
        {
            [int features] => (1, features),
            [int time, int features] => (time, features),
            _ => throw Refuse("[n], [time, features] or [channels, height, width]", "'reshape' the input"),
        };
    }

    /// <summary>Adds the layer that the description stands for.</summary>
    public void Append(Layer layer) => Network.Append(layer, Name, Kind);

    /// <summary>An error that names the layer, what it got and what it wanted.</summary>
    public DistTrainException Refuse(string wanted, string hint) =>
        new(ExitCode.BadUsage, $"model: layer {Name} ({Kind}): got an input of shape {Shapes.Text(Input)}, wanted {wanted}; {hint}");
}
