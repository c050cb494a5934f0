using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>How <see cref="Padding"/> finds its pixels.</summary>
public enum PaddingKind
{
    /// <summary>So many on each side.</summary>
    Pixels,

    /// <summary>So that the output has ⌈size / stride⌉ pixels; an odd one goes behind.</summary>
    Same,

    /// <summary>All before, so that an output sees nothing later than itself; sequences only.</summary>
    Causal,
}

/// <summary>The zeros around a convolution's input.</summary>
/// <param name="Kind">How many there are.</param>
/// <param name="Pixels">On each side, for <see cref="PaddingKind.Pixels"/>.</param>
public readonly record struct Padding(PaddingKind Kind, Size2 Pixels)
{
    /// <summary>⌈size / stride⌉ outputs.</summary>
    public static Padding Same { get; } = new(PaddingKind.Same, 0);

    /// <summary>For sequences: an output sees its own time step and earlier ones.</summary>
    public static Padding Causal { get; } = new(PaddingKind.Causal, 0);

    /// <summary>So many pixels on every side.</summary>
    public static implicit operator Padding(int pixels) => new(PaddingKind.Pixels, pixels);

    /// <summary>So many pixels above and below, and so many left and right.</summary>
    public static implicit operator Padding(Size2 pixels) => new(PaddingKind.Pixels, pixels);

    /// <summary>Reads <c>1</c>, <c>[1, 2]</c>, <c>same</c>, and for sequences <c>causal</c>.</summary>
    internal static Padding Read(ConfigNode options, bool sequences = false)
    {
        if (options.Find("padding") is not { } node) return 0;
        return node.Scalar switch
        {
            "same" => Same,
            "causal" when sequences => Causal,
            { Length: > 0 } text when char.IsAsciiLetter(text[0]) =>
                throw node.Error($"expected a number of {(sequences ? "time steps, 'same' or 'causal'" : "pixels, [rows, columns] or 'same'")}, got '{text}'"),
            _ => sequences ? (int)node.AsInteger(0, int.MaxValue) : Size2.Read(node, 0),
        };
    }

    /// <summary>The zeros before and behind one axis of so many pixels.</summary>
    internal (int Before, int Behind) Along(int size, int kernel, int stride, int dilation, int pixels)
    {
        long reach = (long)dilation * (kernel - 1);
        switch (Kind)
        {
            case PaddingKind.Pixels: return (pixels, pixels);
            case PaddingKind.Causal: return (checked((int)reach), 0);
            default:
                long outputs = ((long)size + stride - 1) / stride;
                int total = checked((int)Math.Max(0, ((outputs - 1) * stride) + reach + 1 - size));
                return (total / 2, total - (total / 2));
        }
    }
}
