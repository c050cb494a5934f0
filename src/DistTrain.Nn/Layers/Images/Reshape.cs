using System.Collections.Immutable;
using DistTrain.Core.Config;

namespace DistTrain.Nn;

/// <summary>
/// Another shape for the same values in the same order; one size may be −1 and is inferred. Values that become images are
/// taken plane by plane, [channels, height, width] row-major, as data files and PyTorch have them, or with
/// <see cref="ChannelsLast"/> pixel by pixel, which undoes a <see cref="FlattenSpec"/> of images. Images that a layer gave
/// lie pixel by pixel: [64, 7, 7] becomes [49, 64], a sequence of pixels, without a move.
/// </summary>
/// <param name="To">The new shape of an example.</param>
/// <param name="ChannelsLast">Whether values that become images lie with their channels last.</param>
public sealed record ReshapeSpec(ImmutableArray<int> To, bool ChannelsLast = false) : LayerSpec
{
    internal const string Name = "reshape";

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <summary>Whether both say the same.</summary>
    public bool Equals(ReshapeSpec? other) => other is not null && ChannelsLast == other.ChannelsLast && To.SequenceEqual(other.To);

    /// <inheritdoc/>
    public override int GetHashCode() => To.Aggregate(0, HashCode.Combine);

    internal static ReshapeSpec Read(NamedChoice choice)
    {
        if (choice.Options.Kind != ConfigKind.Map) return new ReshapeSpec(Sizes(choice.Options));
        var spec = new ReshapeSpec(Sizes(choice.Options.Require("to")), choice.Options.Flag("channels_last", false));
        choice.RefuseUnknown();
        return spec;
    }

    internal override void Emit(LayerBuilder builder)
    {
        ImmutableArray<int> shape = Infer(builder);
        builder.Append(new ViewLayer(shape));
        if (shape.Length == 3) builder.Network.ImagesLie(planes: !ChannelsLast);
    }

    private static ImmutableArray<int> Sizes(ConfigNode node) => node.Kind == ConfigKind.List
        ? [.. node.Items.Select(i => (int)i.AsInteger(-1, int.MaxValue))]
        : [(int)node.AsInteger(-1, int.MaxValue)];

    private ImmutableArray<int> Infer(LayerBuilder builder)
    {
        int width = Shapes.Width(builder.Input);
        long known = 1;
        foreach (int size in To)
        {
            if (size is 0 or < -1) throw builder.Refuse("a new shape of sizes from 1 up, one of which may be -1", $"it is {Shapes.Text(To)}");
            if (size > 0) known = checked(known * size);
        }

        int open = To.Count(size => size == -1);
        bool fits = open == 0 ? known == width : open == 1 && width % known == 0;
        if (To.IsDefaultOrEmpty || !fits) throw builder.Refuse($"one that fits {Shapes.Text(To)}", $"the input has {width} values");
        return [.. To.Select(size => size == -1 ? (int)(width / known) : size)];
    }
}
