namespace DistTrain.Core.Sharding;

/// <summary>
/// What every segment carries beside its gradient, joined along the same tree: sums, never means.
/// </summary>
/// <param name="LossSum">Sum of the loss over what it counts.</param>
/// <param name="WeightSum">What the loss divides by: examples, elements, tokens or class weights.</param>
/// <param name="Correct">Examples whose largest output is their label; 0 where that has no meaning.</param>
/// <param name="Examples">Examples.</param>
public readonly record struct SegmentStats(double LossSum, double WeightSum, long Correct, long Examples)
{
    /// <summary>Joins two neighbours: left + right, in this order.</summary>
    public static SegmentStats Join(SegmentStats left, SegmentStats right) =>
        new(left.LossSum + right.LossSum, left.WeightSum + right.WeightSum, left.Correct + right.Correct, left.Examples + right.Examples);

    /// <summary>The mean loss; NaN without weight.</summary>
    public double MeanLoss => LossSum / WeightSum;

    /// <summary>The share of correct examples; NaN without examples.</summary>
    public double Accuracy => (double)Correct / Examples;
}
