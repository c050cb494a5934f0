using System.Collections.Immutable;

namespace DistTrain.Nn;

/// <summary>What a layer is, for people.</summary>
/// <param name="Name">Its name, which its tensors' names begin with.</param>
/// <param name="Kind">Its kind: <c>dense</c>.</param>
/// <param name="InputShape">The shape of one example's input.</param>
/// <param name="OutputShape">The shape of one example's output.</param>
/// <param name="Parameters">How many numbers it trains.</param>
/// <param name="Flops">Floating-point operations of one example's forward pass; a multiply-add counts as two.</param>
public sealed record LayerSummary(
    string Name, string Kind, ImmutableArray<int> InputShape, ImmutableArray<int> OutputShape, long Parameters, long Flops);
