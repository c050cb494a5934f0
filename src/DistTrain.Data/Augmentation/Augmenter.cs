using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Kernels;

namespace DistTrain.Data;

/// <summary>
/// Changes gathered training images in place, as a list of <see cref="AugmentSpec"/>s says, but for what a <see cref="Mixer"/> does. Allocates nothing once made;
/// one thread at a time.
/// </summary>
public sealed class Augmenter
{
    // "A": keeps these numbers apart from those of other purposes under the same seed.
    private const uint Purpose = 0x41000000;

    // The counter's step is the example of an epoch, its element the draw of an item.
    private const int ExampleBits = 40;
    private const int DrawBits = 28;

    private readonly ImmutableArray<AugmentSpec> _items;
    private readonly KeyedRandom _random;
    private readonly int _channels;
    private readonly int _height;
    private readonly int _width;
    private readonly float[] _copy;
    private readonly float _black;
    private readonly AffineSampler? _affine;

    /// <summary>Makes ready for images of a shape.</summary>
    /// <param name="items">What to do, in order.</param>
    /// <param name="shape">One image: [channels, height, width].</param>
    /// <param name="seed">The job's seed.</param>
    /// <param name="black">What a black pixel is in these images; see <see cref="IDataset.Black"/>.</param>
    /// <exception cref="DistTrainException">BadUsage: the examples are no such images, or a kind is there twice.</exception>
    public Augmenter(ImmutableArray<AugmentSpec> items, ImmutableArray<int> shape, ulong seed, float black = 0)
    {
        if (shape is not [var channels, var height, var width])
        {
            throw new DistTrainException(ExitCode.BadUsage, $"data.augment: '{items[0].Kind}' is for images [channels, height, width]; the examples are [{string.Join(", ", shape)}]");
        }

        if (items.GroupBy(i => i.Kind).FirstOrDefault(g => g.Count() > 1) is { } twice) throw new DistTrainException(ExitCode.BadUsage, $"data.augment: '{twice.Key}' is there twice");
        (_items, _channels, _height, _width) = (items, channels, height, width);
        _random = new KeyedRandom(seed, Purpose);
        _copy = new float[GatherChecks.FeatureCount(shape)];
        _affine = AffineSampler.Of(items, black);
        _black = black;
    }

    /// <summary>Changes images in place.</summary>
    /// <param name="epoch">Passes over the data completed before.</param>
    /// <param name="examples">Which training example each image is.</param>
    /// <param name="images">(examples.Length, channels, height, width), contiguous.</param>
    public void Apply(long epoch, ReadOnlySpan<long> examples, Span<float> images)
    {
        GatherChecks.Destination(examples.Length, _copy.Length, images.Length);
        for (int i = 0; i < examples.Length; i++)
        {
            ulong key = ((ulong)epoch << ExampleBits) + (ulong)examples[i];
            Span<float> image = images.Slice(i * _copy.Length, _copy.Length);
            for (int item = 0; item < _items.Length; item++) Apply(new Draws(_random, key, (ulong)item << DrawBits), _items[item], item, image);
        }
    }

    private void Apply(Draws draws, AugmentSpec item, int place, Span<float> image)
    {
        switch (item)
        {
            case FlipAugment flip:
                if (draws.Uniform(0) < flip.Probability) Flip(image);
                break;
            case CropAugment crop:
                Move(image, draws.Whole(0, (2 * crop.Pad) + 1) - crop.Pad, draws.Whole(1, (2 * crop.Pad) + 1) - crop.Pad);
                break;
            case BrightnessAugment brightness:
                float by = (float)draws.Within(0, -brightness.By, brightness.By);
                foreach (ref float value in image) value += by;
                break;
            case NoiseAugment noise:
                float sd = (float)noise.Sd;
                for (int i = 0; i < image.Length; i++) image[i] += draws.Normal(i) * sd;
                break;
            case CutoutAugment cutout:
                Cut(image, draws.Whole(0, _height) - (cutout.Size / 2), draws.Whole(1, _width) - (cutout.Size / 2), cutout.Size);
                break;
            case MixAugment:
                break;
            default:
                if (place != _affine!.Place) break;
                image.CopyTo(_copy);
                _affine.Sample(draws, _copy, image, _channels, _height, _width);
                break;
        }
    }

    private void Flip(Span<float> image)
    {
        for (int row = 0; row < _channels * _height; row++) image.Slice(row * _width, _width).Reverse();
    }

    // Pixel (y, x) becomes what was at (y + down, x + right).
    private void Move(Span<float> image, int down, int right)
    {
        if (down == 0 && right == 0) return;
        image.CopyTo(_copy);
        image.Fill(_black);
        int fromX = Math.Max(0, right), toX = Math.Min(_width, _width + right);
        if (fromX >= toX) return;
        for (int c = 0; c < _channels; c++)
        {
            for (int y = Math.Max(0, -down); y < Math.Min(_height, _height - down); y++)
            {
                int row = c * _height;
                _copy.AsSpan(((row + y + down) * _width) + fromX, toX - fromX).CopyTo(image[(((row + y) * _width) + fromX - right)..]);
            }
        }
    }

    private void Cut(Span<float> image, int top, int left, int size)
    {
        int fromX = Math.Max(0, left), toX = Math.Min(_width, left + size);
        for (int c = 0; c < _channels; c++)
        {
            for (int y = Math.Max(0, top); y < Math.Min(_height, top + size); y++) image.Slice((((c * _height) + y) * _width) + fromX, toX - fromX).Fill(_black);
        }
    }
}

/// <summary>The random numbers of one item for one example of an epoch.</summary>
internal readonly struct Draws(KeyedRandom random, ulong key, ulong first)
{
    /// <summary>In [0, 1).</summary>
    public double Uniform(int draw) => random.Uniform(key, first + (ulong)draw);

    /// <summary>Between two numbers.</summary>
    public double Within(int draw, double low, double high) => low + (Uniform(draw) * (high - low));

    /// <summary>A whole number in [0, count).</summary>
    public int Whole(int draw, int count) => (int)(Uniform(draw) * count);

    /// <summary>Of the standard normal distribution.</summary>
    public float Normal(int draw) => random.Normal(key, first + (ulong)draw);
}
