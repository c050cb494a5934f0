using System.Collections.Immutable;
using System.Globalization;

namespace DistTrain.Nn;

/// <summary>The shape of one example's values, without the row dimension: [784], or [1, 28, 28].</summary>
internal static class Shapes
{
    /// <summary>Values of one example: the product of the shape.</summary>
    public static int Width(ImmutableArray<int> shape)
    {
        int width = 1;
        foreach (int d in shape) width = checked(width * d);
        return width;
    }

    /// <summary>How messages write a shape: <c>[1, 28, 28]</c>.</summary>
    public static string Text(ImmutableArray<int> shape) =>
        $"[{string.Join(", ", shape.Select(d => d.ToString(CultureInfo.InvariantCulture)))}]";
}
