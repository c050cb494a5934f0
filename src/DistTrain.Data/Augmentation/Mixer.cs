using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Kernels;

namespace DistTrain.Data;

/// <summary>
/// Mixes gathered training images with partners of the same mini-batch, as the <see cref="MixAugment"/>s of a list say, and makes
/// soft targets of their labels. Who the partner is depends on the step and the position alone, so that a worker needs that one
/// example more, whoever else computes it. Allocates nothing once made.
/// </summary>
public sealed class Mixer
{
    // "M": keeps these numbers apart from those of other purposes under the same seed.
    private const uint Purpose = 0x4D000000;

    // The counter's step is the position of a step.
    private const int PositionBits = 24;

    // Draws of one image.
    private const int WhichKind = 0;
    private const int Whether = 1;
    private const int CentreY = 2;
    private const int CentreX = 3;
    private const int Proportion = 8;

    private readonly ImmutableArray<MixAugment> _kinds;
    private readonly KeyedRandom _random;
    private readonly ulong _seed;
    private readonly int _height;
    private readonly int _width;
    private readonly int _classes;
    private readonly int _size;

    /// <summary>Makes ready for images of a shape.</summary>
    /// <param name="items">The list of augmentations; those that mix stand last.</param>
    /// <param name="shape">One image: [channels, height, width].</param>
    /// <param name="target">What the data gives; one class label an example.</param>
    /// <param name="seed">The job's seed.</param>
    /// <exception cref="DistTrainException">BadUsage: the data has no such images or labels, or the order is another.</exception>
    public Mixer(ImmutableArray<AugmentSpec> items, ImmutableArray<int> shape, TargetSpec target, ulong seed)
    {
        _kinds = [.. items.OfType<MixAugment>()];
        string first = _kinds[0].Kind;
        if (items.Skip(items.Length - _kinds.Length).FirstOrDefault(i => i is not MixAugment) is not null || items.Take(items.Length - _kinds.Length).Any(i => i is MixAugment))
        {
            throw new DistTrainException(ExitCode.BadUsage, $"data.augment: '{first}' mixes finished images; put it behind '{items.Last(i => i is not MixAugment).Kind}'");
        }

        if (target is not { Kind: TargetKind.ClassLabel, Length: 1 }) throw new DistTrainException(ExitCode.BadUsage, $"data.augment: '{first}' mixes the class labels of two examples; the data has {target}");
        if (shape is not [_, var height, var width]) throw new DistTrainException(ExitCode.BadUsage, $"data.augment: '{first}' is for images [channels, height, width]; the examples are [{string.Join(", ", shape)}]");
        (_height, _width, _classes, _seed) = (height, width, target.Width, seed);
        _size = GatherChecks.FeatureCount(shape);
        _random = new KeyedRandom(seed, Purpose);
    }

    /// <summary>Whether a list mixes images.</summary>
    public static bool IsWanted(IEnumerable<AugmentSpec> items) => items.Any(i => i is MixAugment);

    /// <summary>The positions of partners: a permutation of the mini-batch, some of which may be an image's own.</summary>
    /// <param name="step">Which step.</param>
    /// <param name="batchSize">Examples of its mini-batch.</param>
    /// <param name="positions">Positions in the mini-batch.</param>
    /// <param name="partners">Receives one for each.</param>
    public void Partners(long step, int batchSize, ReadOnlySpan<int> positions, Span<int> partners)
    {
        var order = new KeyedPermutation(_seed, "mix", (ulong)step, batchSize);
        for (int i = 0; i < positions.Length; i++) partners[i] = (int)order.Map(positions[i]);
    }

    /// <summary>Mixes images in place.</summary>
    /// <param name="step">Which step.</param>
    /// <param name="positions">Positions in the mini-batch.</param>
    /// <param name="images">(positions.Length, channels, height, width): finished images.</param>
    /// <param name="partners">The same of their partners.</param>
    /// <param name="labels">(positions.Length): class labels.</param>
    /// <param name="partnerLabels">The same of their partners.</param>
    /// <param name="targets">(positions.Length, classes): receives λ at the label plus 1 − λ at the partner's.</param>
    public void Apply(
        long step, ReadOnlySpan<int> positions, Span<float> images, ReadOnlySpan<float> partners, ReadOnlySpan<int> labels, ReadOnlySpan<int> partnerLabels, Span<float> targets)
    {
        GatherChecks.Destination(positions.Length, _size, images.Length);
        GatherChecks.Destination(positions.Length, _size, partners.Length);
        GatherChecks.Destination(positions.Length, _classes, targets.Length);
        targets.Clear();
        for (int i = 0; i < positions.Length; i++)
        {
            var draws = new Draws(_random, ((ulong)step << PositionBits) + (ulong)positions[i], 0);
            float own = Mix(draws, images.Slice(i * _size, _size), partners.Slice(i * _size, _size));
            Span<float> row = targets.Slice(i * _classes, _classes);
            row[labels[i]] = own;
            row[partnerLabels[i]] += 1 - own;
        }
    }

    // Returns the share of the image itself.
    private float Mix(Draws draws, Span<float> image, ReadOnlySpan<float> partner)
    {
        MixAugment kind = _kinds[draws.Whole(WhichKind, _kinds.Length)];
        if (draws.Uniform(Whether) >= kind.Probability) return 1;
        double share = BetaDraw.Take(draws, Proportion, kind.Alpha);
        return kind is CutMixAugment ? Paste(draws, image, partner, share) : Blend(image, partner, (float)share);
    }

    private static float Blend(Span<float> image, ReadOnlySpan<float> partner, float share)
    {
        float rest = 1 - share;
        for (int i = 0; i < image.Length; i++) image[i] = (share * image[i]) + (rest * partner[i]);
        return share;
    }

    private float Paste(Draws draws, Span<float> image, ReadOnlySpan<float> partner, double share)
    {
        double side = Math.Sqrt(1 - share);
        int half = (int)(_height * side) / 2, halfWidth = (int)(_width * side) / 2;
        int y = draws.Whole(CentreY, _height), x = draws.Whole(CentreX, _width);
        int top = Math.Max(0, y - half), bottom = Math.Min(_height, y + half);
        int left = Math.Max(0, x - halfWidth), right = Math.Min(_width, x + halfWidth);
        for (int plane = 0; plane < _size; plane += _height * _width)
        {
            for (int row = top; row < bottom; row++)
            {
                int at = plane + (row * _width) + left;
                partner.Slice(at, right - left).CopyTo(image[at..]);
            }
        }

        return 1 - ((float)((bottom - top) * (right - left)) / (_height * _width));
    }
}
