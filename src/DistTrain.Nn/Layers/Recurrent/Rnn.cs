using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>
/// A plain recurrent network (Elman, 1990): h' = tanh(W_i·x + b_i + W_h·h + b_h), or ReLU. See <see cref="RecurrentSpec"/>.
/// </summary>
/// <param name="Hidden">Values of a state.</param>
/// <param name="Layers">How many, one on top of the other.</param>
/// <param name="Bidirectional">Whether a second network runs from the last position to the first.</param>
/// <param name="Return">All states or the last.</param>
/// <param name="Bias">Whether there are biases.</param>
/// <param name="Init">First values of the input weights; null for uniform within ±1/√hidden, as of all that is not given.</param>
/// <param name="RecurrentInit">First values of the recurrent weights.</param>
/// <param name="BiasInit">First values of the biases.</param>
/// <param name="Relu">ReLU in place of tanh.</param>
public sealed record RnnSpec(
    int Hidden,
    int Layers = 1,
    bool Bidirectional = false,
    RecurrentReturn Return = RecurrentReturn.Sequence,
    bool Bias = true,
    Initialiser? Init = null,
    Initialiser? RecurrentInit = null,
    Initialiser? BiasInit = null,
    bool Relu = false)
    : RecurrentSpec(Hidden, Layers, Bidirectional, Return, Bias, Init, RecurrentInit, BiasInit)
{
    internal const string Name = "rnn";

    /// <inheritdoc/>
    public override string Kind => Name;

    private protected override RecurrentCell Cell => Relu ? RecurrentCell.Relu : RecurrentCell.Tanh;

    internal static RnnSpec Read(NamedChoice choice)
    {
        if (choice.HasMainValue) return new RnnSpec((int)choice.Options.AsInteger(1, int.MaxValue));
        var c = ReadCommon(choice.Options);
        var spec = new RnnSpec(c.Hidden, c.Layers, c.Bidirectional, c.Return, c.Bias, c.Init, c.RecurrentInit, c.BiasInit, choice.Options.Find("activation") is { } f && Choices.Read(f, "activation", ("tanh", false), ("relu", true)));
        choice.RefuseUnknown();
        return spec;
    }
}
