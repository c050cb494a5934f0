using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>A size in both directions of an image; one number stands for both.</summary>
/// <param name="Y">Down the rows.</param>
/// <param name="X">Along a row.</param>
public readonly record struct Size2(int Y, int X)
{
    /// <summary>The same size in both directions.</summary>
    public static implicit operator Size2(int size) => new(size, size);

    /// <summary>Reads <c>3</c> or <c>[3, 5]</c>: rows, then columns.</summary>
    internal static Size2 Read(ConfigNode node, int min)
    {
        if (node.Kind != ConfigKind.List) return (int)node.AsInteger(min, int.MaxValue);
        if (node.Items.Count != 2) throw node.Error($"expected one size, or two as [rows, columns], got a list of {node.Items.Count}");
        return new Size2((int)node.Items[0].AsInteger(min, int.MaxValue), (int)node.Items[1].AsInteger(min, int.MaxValue));
    }

    /// <summary>Reads an option, or gives what holds without it.</summary>
    internal static Size2 Read(ConfigNode options, string key, Size2 fallback, int min = 1) =>
        options.Find(key) is { } node ? Read(node, min) : fallback;

    /// <inheritdoc/>
    public override string ToString() => $"{Y}x{X}";
}
