using DistTrain.Core.Config;

namespace DistTrain.Data;

/// <summary>
/// One change that training images go through each time they are used, an item of <c>data.augment</c>. Images are
/// [channels, height, width]; a value is what the data gives after scaling or standardising, and what comes in from outside
/// of an image is black, <see cref="IDataset.Black"/>. The random numbers belong to (seed, epoch, example, place in the list), so they are the same whoever
/// prepares the example; those of a <see cref="MixAugment"/> to the step and the place in it.
/// </summary>
public abstract record AugmentSpec
{
    private static readonly Dictionary<string, Func<NamedChoice, AugmentSpec>> Readers = new(StringComparer.Ordinal)
    {
        [FlipAugment.Name] = c => new FlipAugment(Option(c, "probability", 0, 1, 0.5)),
        [CropAugment.Name] = c => new CropAugment((int)Integer(c, "pad", 0, MostPixels)),
        [ShiftAugment.Name] = c => new ShiftAugment(Option(c, "pixels", 0, MostPixels)),
        [RotateAugment.Name] = c => new RotateAugment(Option(c, "degrees", 0, 180)),
        [ScaleAugment.Name] = c => new ScaleAugment(Named(c, "least"), Named(c, "most")),
        [BrightnessAugment.Name] = c => new BrightnessAugment(Option(c, "by", 0, MostValue)),
        [NoiseAugment.Name] = c => new NoiseAugment(Option(c, "sd", 0, MostValue)),
        [CutoutAugment.Name] = c => new CutoutAugment((int)Integer(c, "size", 1, MostPixels)),
        [MixupAugment.Name] = c => new MixupAugment(Alpha(c, MixupAugment.UsualAlpha), Probability(c)),
        [CutMixAugment.Name] = c => new CutMixAugment(Alpha(c, CutMixAugment.UsualAlpha), Probability(c)),
    };

    private const int MostPixels = 1 << 16;
    private const double MostValue = 1e6;
    private const double SmallestFactor = 0.01;
    private const double LargestFactor = 100;
    private const double SmallestAlpha = 0.001;
    private const double LargestAlpha = 1000;

    /// <summary>The kinds there are.</summary>
    public static IReadOnlyCollection<string> Kinds => Readers.Keys;

    /// <summary>The name in a job.</summary>
    public abstract string Kind { get; }

    /// <summary>The options as a job writes them.</summary>
    public abstract IReadOnlyList<(string Key, double Value)> Options { get; }

    /// <summary>Reads one: <c>flip</c>, <c>crop: 4</c> or <c>scale: { least: 0.9, most: 1.1 }</c>.</summary>
    /// <exception cref="Core.DistTrainException">It is unknown (with the nearest spelling), or an option is wrong.</exception>
    public static AugmentSpec FromConfig(ConfigNode node)
    {
        NamedChoice choice = NamedChoice.Read(node, "augmentation", Kinds);
        AugmentSpec spec = Readers[choice.Name](choice);
        if (!choice.HasMainValue) choice.RefuseUnknown();
        if (spec is ScaleAugment scale && scale.Least > scale.Most) throw choice.Options.Error($"'least' is {scale.Least} and 'most' {scale.Most}; expected the smaller first");
        return spec;
    }

    private static double Named(NamedChoice choice, string key) => choice.HasMainValue
        ? throw choice.Options.Error($"'{choice.Name}' takes named options, got {choice.Options.Describe()}")
        : choice.Options.Require(key).AsNumber(SmallestFactor, LargestFactor);

    private static double Alpha(NamedChoice choice, double usual) => Option(choice, "alpha", SmallestAlpha, LargestAlpha, usual);

    private static double Probability(NamedChoice choice) => choice.HasMainValue ? 1 : choice.Options.Number("probability", 1, 0, 1);

    private static double Option(NamedChoice choice, string key, double least, double most, double? fallback = null) =>
        choice.HasMainValue ? choice.Options.AsNumber(least, most)
        : fallback is { } value ? choice.Options.Number(key, value, least, most)
        : choice.Options.Require(key).AsNumber(least, most);

    private static long Integer(NamedChoice choice, string key, long least, long most) =>
        (choice.HasMainValue ? choice.Options : choice.Options.Require(key)).AsInteger(least, most);
}

/// <summary>Mirrors left and right.</summary>
/// <param name="Probability">How often.</param>
public sealed record FlipAugment(double Probability = 0.5) : AugmentSpec
{
    internal const string Name = "flip";

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <inheritdoc/>
    public override IReadOnlyList<(string Key, double Value)> Options => [("probability", Probability)];
}

/// <summary>Pads all four sides, and cuts a piece of the image's own size out at a random place.</summary>
/// <param name="Pad">Pixels at each side.</param>
public sealed record CropAugment(int Pad) : AugmentSpec
{
    internal const string Name = "crop";

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <inheritdoc/>
    public override IReadOnlyList<(string Key, double Value)> Options => [("pad", Pad)];
}

/// <summary>Moves the image, not by whole pixels only: one map with <see cref="RotateAugment"/> and
/// <see cref="ScaleAugment"/>, read bilinearly, at the place of the first of them in the list.</summary>
/// <param name="Pixels">The most, in each direction.</param>
public sealed record ShiftAugment(double Pixels) : AugmentSpec
{
    internal const string Name = "shift";

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <inheritdoc/>
    public override IReadOnlyList<(string Key, double Value)> Options => [("pixels", Pixels)];
}

/// <summary>Turns the image about its centre; see <see cref="ShiftAugment"/>.</summary>
/// <param name="Degrees">The most, to either side.</param>
public sealed record RotateAugment(double Degrees) : AugmentSpec
{
    internal const string Name = "rotate";

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <inheritdoc/>
    public override IReadOnlyList<(string Key, double Value)> Options => [("degrees", Degrees)];
}

/// <summary>Makes the image larger or smaller about its centre; see <see cref="ShiftAugment"/>.</summary>
/// <param name="Least">The smallest factor.</param>
/// <param name="Most">The largest factor.</param>
public sealed record ScaleAugment(double Least, double Most) : AugmentSpec
{
    internal const string Name = "scale";

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <inheritdoc/>
    public override IReadOnlyList<(string Key, double Value)> Options => [("least", Least), ("most", Most)];
}

/// <summary>Adds one number to all values.</summary>
/// <param name="By">The largest, up or down.</param>
public sealed record BrightnessAugment(double By) : AugmentSpec
{
    internal const string Name = "brightness";

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <inheritdoc/>
    public override IReadOnlyList<(string Key, double Value)> Options => [("by", By)];
}

/// <summary>Adds normally distributed noise to each value.</summary>
/// <param name="Sd">Its standard deviation.</param>
public sealed record NoiseAugment(double Sd) : AugmentSpec
{
    internal const string Name = "noise";

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <inheritdoc/>
    public override IReadOnlyList<(string Key, double Value)> Options => [("sd", Sd)];
}

/// <summary>Blackens a square whose centre is any pixel, so that it may reach over the edge (DeVries and Taylor, 2017).</summary>
/// <param name="Size">Its side.</param>
public sealed record CutoutAugment(int Size) : AugmentSpec
{
    internal const string Name = "cutout";

    /// <inheritdoc/>
    public override string Kind => Name;

    /// <inheritdoc/>
    public override IReadOnlyList<(string Key, double Value)> Options => [("size", Size)];
}
