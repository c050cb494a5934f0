using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>
/// Gated recurrent units (Cho et al., 2014), with PyTorch's formula: r, z = σ(W_i·x + b_i + W_h·h + b_h),
/// n = tanh(W_i·x + b_i + r·(W_h·h + b_h)), h' = (1 − z)·n + z·h. Gates lie as r, z, n. See <see cref="RecurrentSpec"/>.
/// </summary>
/// <param name="Hidden">Values of a state.</param>
/// <param name="Layers">How many, one on top of the other.</param>
/// <param name="Bidirectional">Whether a second network runs from the last position to the first.</param>
/// <param name="Return">All states or the last.</param>
/// <param name="Bias">Whether there are biases.</param>
/// <param name="Init">First values of the input weights; null for uniform within ±1/√hidden, as of all that is not given.</param>
/// <param name="RecurrentInit">First values of the recurrent weights.</param>
/// <param name="BiasInit">First values of the biases.</param>
public sealed record GruSpec(
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
    internal const string Name = "gru";

    /// <inheritdoc/>
    public override string Kind => Name;

    private protected override RecurrentCell Cell => RecurrentCell.Gru;

    internal static GruSpec Read(NamedChoice choice)
    {
        if (choice.HasMainValue) return new GruSpec((int)choice.Options.AsInteger(1, int.MaxValue));
        var c = ReadCommon(choice.Options);
        var spec = new GruSpec(c.Hidden, c.Layers, c.Bidirectional, c.Return, c.Bias, c.Init, c.RecurrentInit, c.BiasInit);
        choice.RefuseUnknown();
        return spec;
    }
}
