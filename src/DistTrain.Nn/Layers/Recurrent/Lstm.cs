using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>
/// Long short-term memory (Hochreiter and Schmidhuber, 1997; forget gates: Gers et al., 2000), with PyTorch's formula:
/// i, f, o = σ(W_i·x + b_i + W_h·h + b_h), g = tanh of the same, c' = f·c + i·g, h' = o·tanh c'. Gates lie as i, f, g, o.
/// See <see cref="RecurrentSpec"/>.
/// </summary>
/// <param name="Hidden">Values of a state.</param>
/// <param name="Layers">How many, one on top of the other.</param>
/// <param name="Bidirectional">Whether a second network runs from the last position to the first.</param>
/// <param name="Return">All states or the last.</param>
/// <param name="Bias">Whether there are biases.</param>
/// <param name="Init">First values of the input weights; null for uniform within ±1/√hidden, as of all that is not given.</param>
/// <param name="RecurrentInit">First values of the recurrent weights.</param>
/// <param name="BiasInit">First values of the biases.</param>
public sealed record LstmSpec(
    int Hidden,
    int Layers = 1,
    bool Bidirectional = false,
    RecurrentReturn Return = RecurrentReturn.Sequence,
    bool Bias = true,
    Initialiser? Init = null,
    Initialiser? RecurrentInit = null,
    Initialiser? BiasInit = null)
    : RecurrentSpec(Hidden, Layers, Bidirectional, Return, Bias, Init, RecurrentInit, BiasInit)
{
    internal const string Name = "lstm";

    /// <inheritdoc/>
    public override string Kind => Name;

    private protected override RecurrentCell Cell => RecurrentCell.Lstm;

    internal static LstmSpec Read(NamedChoice choice)
    {
        if (choice.HasMainValue) return new LstmSpec((int)choice.Options.AsInteger(1, int.MaxValue));
        var c = ReadCommon(choice.Options);
        var spec = new LstmSpec(c.Hidden, c.Layers, c.Bidirectional, c.Return, c.Bias, c.Init, c.RecurrentInit, c.BiasInit);
        choice.RefuseUnknown();
        return spec;
    }
}
