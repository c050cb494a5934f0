namespace DistTrain.Data;

/// <summary>
/// Mixes each training image with another of its mini-batch, and their labels in the same proportions; it stands behind all
/// that changes one image by itself. The proportion is λ of the Beta(α, α) distribution. The partner and λ belong to (seed, step,
/// position in the mini-batch). Where a list has both kinds, an even coin says for each image which of them is asked.
/// </summary>
/// <param name="Alpha">Below 1 mostly one of the two images shows, above 1 both about evenly.</param>
/// <param name="Probability">How often an image is mixed at all.</param>
public abstract record MixAugment(double Alpha, double Probability) : AugmentSpec
{
    /// <inheritdoc/>
    public override IReadOnlyList<(string Key, double Value)> Options => [("alpha", Alpha), ("probability", Probability)];
}

/// <summary>λ of one image plus 1 − λ of the other (Zhang, Cissé, Dauphin and Lopez-Paz, 2018, 'mixup: beyond empirical risk
/// minimization').</summary>
/// <param name="Alpha">See <see cref="MixAugment"/>.</param>
/// <param name="Probability">How often.</param>
public sealed record MixupAugment(double Alpha = MixupAugment.UsualAlpha, double Probability = 1) : MixAugment(Alpha, Probability)
{
    internal const string Name = "mixup";
    internal const double UsualAlpha = 0.2;

    /// <inheritdoc/>
    public override string Kind => Name;
}

/// <summary>A rectangle of the other image in place of 1 − λ of this one; what lies over the edge counts for this one (Yun et
/// al., 2019, 'CutMix: regularization strategy to train strong classifiers with localizable features').</summary>
/// <param name="Alpha">See <see cref="MixAugment"/>.</param>
/// <param name="Probability">How often.</param>
public sealed record CutMixAugment(double Alpha = CutMixAugment.UsualAlpha, double Probability = 1) : MixAugment(Alpha, Probability)
{
    internal const string Name = "cutmix";
    internal const double UsualAlpha = 1;

    /// <inheritdoc/>
    public override string Kind => Name;
}
