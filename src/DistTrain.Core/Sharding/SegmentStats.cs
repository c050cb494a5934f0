namespace DistTrain.Core.Sharding;

/// <summary>
/// What every segment carries beside its gradient, joined along the same tree: sums, never means.
/// </summary>
/// <param name="LossSum">Sum of the loss over what it counts.</param>
/// <param name="WeightSum">What the loss divides by: examples, elements, tokens or class weights.</param>
/// <param name="Correct">Predictions whose largest output is the label; 0 where that has no meaning.</param>
/// <param name="Examples">Examples.</param>
/// <param name="Predictions">What <paramref name="Correct"/> is out of: examples, or tokens; 0 where that has no meaning.</param>
public readonly record struct SegmentStats(double LossSum, double WeightSum, long Correct, long Examples, long Predictions)
{
    /// <summary>The <see cref="Sharding.ExampleDigest"/> of the examples: tells which they are; 0 of an evaluation.</summary>
    public ulong ExampleDigest { get; init; }

    /// <summary>Joins two neighbours: left + right, in this order.</summary>
    public static SegmentStats Join(SegmentStats left, SegmentStats right) =>
        new(left.LossSum + right.LossSum, left.WeightSum + right.WeightSum, left.Correct + right.Correct, left.Examples + right.Examples, left.Predictions + right.Predictions)
        { ExampleDigest = left.ExampleDigest + right.ExampleDigest };

    /// <summary>The mean loss; NaN without weight.</summary>
    public double MeanLoss => LossSum / WeightSum;

    /// <summary>The share of correct predictions; NaN without any.</summary>
    public double Accuracy => (double)Correct / Predictions;
}
