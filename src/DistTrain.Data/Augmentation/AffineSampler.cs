using System.Collections.Immutable;
using DistTrain.Kernels;

namespace DistTrain.Data;

/// <summary>
/// Shift, rotation and scale as one map about the image's centre: the pixel at p of the result is what lies at
/// centre + R(−angle)·(p − centre − shift)/factor, read bilinearly, black outside. Reading once blurs less than three times.
/// </summary>
internal sealed class AffineSampler
{
    private readonly double _shift;
    private readonly double _degrees;
    private readonly double _least = 1;
    private readonly double _most = 1;
    private readonly float _black;

    private AffineSampler(ImmutableArray<AugmentSpec> items, float black)
    {
        _black = black;
        Place = -1;
        for (int i = items.Length - 1; i >= 0; i--)
        {
            switch (items[i])
            {
                case ShiftAugment shift:
                    _shift = shift.Pixels;
                    break;
                case RotateAugment rotate:
                    _degrees = rotate.Degrees;
                    break;
                case ScaleAugment scale:
                    (_least, _most) = (scale.Least, scale.Most);
                    break;
                default:
                    continue;
            }

            Place = i;
        }
    }

    /// <summary>Where in the list the map stands.</summary>
    public int Place { get; }

    /// <summary>The map of a list; null where none of its items is part of one.</summary>
    public static AffineSampler? Of(ImmutableArray<AugmentSpec> items, float black) => new AffineSampler(items, black) is { Place: >= 0 } sampler ? sampler : null;

    /// <summary>Draws a map and applies it: <paramref name="source"/> and <paramref name="result"/> are (channels, height, width).</summary>
    public void Sample(Draws draws, ReadOnlySpan<float> source, Span<float> result, int channels, int height, int width)
    {
        double down = draws.Within(0, -_shift, _shift), right = draws.Within(1, -_shift, _shift);
        double angle = draws.Within(2, -_degrees, _degrees) * (Math.PI / 180);
        double factor = draws.Within(3, _least, _most);
        double cos = ScalarMath.Cos(angle) / factor, sin = ScalarMath.Sin(angle) / factor;
        double middleY = (height - 1) / 2.0, middleX = (width - 1) / 2.0;
        for (int y = 0; y < height; y++)
        {
            double dy = y - middleY - down;
            for (int x = 0; x < width; x++)
            {
                double dx = x - middleX - right;
                Read(source, middleY + (cos * dy) - (sin * dx), middleX + (sin * dy) + (cos * dx), channels, height, width, result[((y * width) + x)..]);
            }
        }
    }

    private void Read(ReadOnlySpan<float> source, double y, double x, int channels, int height, int width, Span<float> result)
    {
        int plane = height * width;
        if (!(y > -1 && y < height && x > -1 && x < width))
        {
            for (int c = 0; c < channels; c++) result[c * plane] = _black;
            return;
        }

        int top = (int)Math.Floor(y), left = (int)Math.Floor(x);
        float fy = (float)(y - top), fx = (float)(x - left);
        bool above = top >= 0, below = top + 1 < height, west = left >= 0, east = left + 1 < width;
        for (int c = 0; c < channels; c++)
        {
            int at = (c * plane) + (top * width) + left;
            float nw = above && west ? source[at] : _black, ne = above && east ? source[at + 1] : _black;
            float sw = below && west ? source[at + width] : _black, se = below && east ? source[at + width + 1] : _black;
            result[c * plane] = (((nw * (1 - fx)) + (ne * fx)) * (1 - fy)) + (((sw * (1 - fx)) + (se * fx)) * fy);
        }
    }
}
