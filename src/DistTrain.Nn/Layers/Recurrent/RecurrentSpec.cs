using DistTrain.Core.Config;
using DistTrain.Core.Layout;

namespace DistTrain.Nn;

/// <summary>What a recurrent layer gives.</summary>
public enum RecurrentReturn
{
    /// <summary>The states of all positions: [time, hidden], 0 where there is padding.</summary>
    Sequence,

    /// <summary>
    /// The last state, [hidden]; of a sequence with padding, the one at its end. The backward direction's is the one at
    /// the first position.
    /// </summary>
    Last,
}

/// <summary>
/// What RNN, LSTM and GRU have in common: [time, features] becomes [time, hidden] or [hidden], twice as wide when
/// bidirectional (forward, backward). Tensors are those of PyTorch's modules: <c>weight_ih_l0</c> [G·hidden, features],
/// <c>weight_hh_l0</c> [G·hidden, hidden], <c>bias_ih_l0</c>, <c>bias_hh_l0</c>, with <c>_reverse</c> for the backward
/// direction. Initial states are 0.
/// </summary>
/// <param name="Hidden">Values of a state.</param>
/// <param name="Layers">How many, one on top of the other.</param>
/// <param name="Bidirectional">Whether a second network runs from the last position to the first.</param>
/// <param name="Return">All states or the last.</param>
/// <param name="Bias">Whether there are biases.</param>
/// <param name="Init">First values of the input weights; null for uniform within ±1/√hidden, as of all that is not given.</param>
/// <param name="RecurrentInit">First values of the recurrent weights.</param>
/// <param name="BiasInit">First values of the biases.</param>
public abstract record RecurrentSpec(
    int Hidden, int Layers, bool Bidirectional, RecurrentReturn Return, bool Bias, Initialiser? Init, Initialiser? RecurrentInit, Initialiser? BiasInit)
    : LayerSpec
{
    private protected abstract RecurrentCell Cell { get; }

    internal override void Emit(LayerBuilder builder)
    {
        (int time, int features) = builder.Sequences();
        if (Hidden < 1 || Layers < 1) throw builder.Refuse("at least one layer of one value", $"'hidden' is {Hidden} and 'layers' {Layers}");
        bool padded = builder.Lengths(time) is not null;
        int directions = Bidirectional ? 2 : 1;
        for (int layer = 0; layer < Layers; layer++)
        {
            RecurrentParameters[] parameters = [.. Enumerable.Range(0, directions).Select(d => Declare(builder, features, $"_l{layer}{(d == 1 ? "_reverse" : "")}"))];
            bool last = Return == RecurrentReturn.Last && layer == Layers - 1;
            builder.AppendSequence(new RecurrentLayer(Cell, time, features, Hidden, [.. parameters], last, padded), time, Layers > 1 ? $".l{layer}" : "");
            features = directions * Hidden;
        }
    }

    private protected static (int Hidden, int Layers, bool Bidirectional, RecurrentReturn Return, bool Bias, Initialiser? Init, Initialiser? RecurrentInit, Initialiser? BiasInit) ReadCommon(ConfigNode options)
    {
        Initialiser? Initial(string key) => options.Find(key) is { } init ? Initialiser.FromConfig(init) : null;
        return (
            (int)options.Require("hidden").AsInteger(1, int.MaxValue),
            (int)options.Integer("layers", 1, 1, 1000),
            options.Flag("bidirectional", false),
            options.Find("return") is { } given ? Choices.Read(given, "'return'", ("sequence", RecurrentReturn.Sequence), ("last", RecurrentReturn.Last)) : RecurrentReturn.Sequence,
            options.Flag("bias", true),
            Initial("init"),
            Initial("recurrent_init"),
            Initial("bias_init"));
    }

    private RecurrentParameters Declare(LayerBuilder builder, int features, string suffix)
    {
        int units = RecurrentLayer.GatesOf(Cell) * Hidden;
        Initialiser standard = Initialisers.Uniform(1 / Math.Sqrt(Hidden));
        Parameter BiasOf(string name) => builder.Declare(name + suffix, [units], BiasInit ?? standard, features, Hidden, TensorRole.Undecayed);
        return new RecurrentParameters(
            builder.Declare("weight_ih" + suffix, [units, features], Init ?? standard, features, Hidden),
            builder.Declare("weight_hh" + suffix, [units, Hidden], RecurrentInit ?? standard, Hidden, Hidden),
            Bias ? BiasOf("bias_ih") : null,
            Bias ? BiasOf("bias_hh") : null);
    }
}
