using System.Collections.Immutable;
using DistTrain.Core.Layout;

namespace DistTrain.Nn;

/// <summary>A tensor of a layer.</summary>
/// <param name="Index">Its position in the layout.</param>
/// <param name="Name">Its name there: <c>0.weight</c>.</param>
/// <param name="Shape">Row-major.</param>
/// <param name="Initialiser">Where its first values come from.</param>
/// <param name="FanIn">Inputs that reach one output.</param>
/// <param name="FanOut">Outputs that one input reaches.</param>
/// <param name="Role">Trained with or without decay, or a buffer.</param>
internal sealed record Parameter(
    int Index, string Name, ImmutableArray<int> Shape, Initialiser Initialiser, int FanIn, int FanOut, TensorRole Role)
{
    /// <summary>How much of a step's statistic goes into a buffer: buffer = (1 − momentum)·buffer + momentum·statistic.</summary>
    public double Momentum { get; init; }
}
