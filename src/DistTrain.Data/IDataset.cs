using System.Collections.Immutable;

namespace DistTrain.Data;

/// <summary>What a model is to learn from an example.</summary>
public enum TargetKind
{
    /// <summary>One class of a fixed number of them, or one at each position of a sequence.</summary>
    ClassLabel,

    /// <summary>One or more real numbers (regression).</summary>
    RealValues,
}

/// <summary>What each example has for a target.</summary>
/// <param name="Kind">Class label or real values.</param>
/// <param name="Width">The number of classes, or of real values an example.</param>
/// <param name="Length">Labels an example: more than one where each position of a sequence has its own; 1 with real values.</param>
public readonly record struct TargetSpec(TargetKind Kind, int Width, int Length = 1)
{
    /// <summary>The label of a position that counts for nothing, such as padding behind a short sentence.</summary>
    public const int Ignored = -1;

    /// <summary>One of <paramref name="classes"/> classes, labels 0 to classes - 1; with a <paramref name="length"/> above
    /// 1 as many of them, of which some may be <see cref="Ignored"/>.</summary>
    public static TargetSpec Classes(int classes, int length = 1) => new(TargetKind.ClassLabel, classes, length);

    /// <summary><paramref name="width"/> real numbers.</summary>
    public static TargetSpec Real(int width) => new(TargetKind.RealValues, width);

    /// <summary>Labels or real values of one example.</summary>
    public int PerRow => Kind == TargetKind.ClassLabel ? Length : Width;

    /// <inheritdoc/>
    public override string ToString() => Kind == TargetKind.ClassLabel
        ? Length == 1 ? $"{Width} classes" : $"{Width} classes at each of {Length} positions"
        : Width == 1 ? "1 real target" : $"{Width} real targets";
}

/// <summary>
/// Examples by index: features of one shape, and a class label or real targets for each. What an index holds never
/// changes, so any number of threads may gather at once, and nothing is allocated by it.
/// </summary>
public interface IDataset
{
    /// <summary>Number of examples.</summary>
    long Count { get; }

    /// <summary>Shape of one example's features, such as [64] or [1, 28, 28] (channels, height, width).</summary>
    ImmutableArray<int> InputShape { get; }

    /// <summary>Features of one example: the product of <see cref="InputShape"/>.</summary>
    int FeatureCount { get; }

    /// <summary>What the targets are.</summary>
    TargetSpec Target { get; }

    /// <summary>
    /// SHA-256 over the content that the examples come from, 64 lower-case hexadecimal digits. Equal on every machine
    /// that has the same data, whether its files are compressed or not.
    /// </summary>
    string ContentHash { get; }

    /// <summary>What a feature that is 0 in the source, a black pixel, became by scaling and standardising. What comes in
    /// from outside of an image has this value.</summary>
    float Black => 0;

    /// <summary>Writes the features of <paramref name="examples"/>, one row each, to <paramref name="inputs"/>:
    /// (examples.Length, FeatureCount), contiguous.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An index is outside [0, Count).</exception>
    /// <exception cref="ArgumentException">The destination has another length.</exception>
    void GatherInputs(ReadOnlySpan<long> examples, Span<float> inputs);

    /// <summary>Writes the class labels of each of <paramref name="examples"/>, within [0, Target.Width), to
    /// <paramref name="labels"/>: (examples.Length, Target.Length), contiguous. Where there are several an example, they may
    /// be <see cref="TargetSpec.Ignored"/>.</summary>
    /// <exception cref="InvalidOperationException">The targets are real values.</exception>
    void GatherLabels(ReadOnlySpan<long> examples, Span<int> labels);

    /// <summary>Writes the real targets of <paramref name="examples"/> to <paramref name="targets"/>:
    /// (examples.Length, Target.Width), contiguous.</summary>
    /// <exception cref="InvalidOperationException">The targets are class labels.</exception>
    void GatherTargets(ReadOnlySpan<long> examples, Span<float> targets);
}

/// <summary>Gathering into native buffers.</summary>
public static unsafe class DatasetExtensions
{
    /// <summary>
    /// Gathers a mini-batch, or a shard of one, into native buffers: features into <paramref name="inputs"/>
    /// (examples.Length, FeatureCount), and either labels into <paramref name="labels"/> (examples.Length, Target.Length) or real
    /// targets into <paramref name="targets"/> (examples.Length, Target.Width). The pointer of the other kind is not
    /// looked at, and either may be null where no targets are wanted.
    /// </summary>
    public static void Gather(this IDataset dataset, ReadOnlySpan<long> examples, float* inputs, int* labels, float* targets)
    {
        dataset.GatherInputs(examples, new Span<float>(inputs, checked(examples.Length * dataset.FeatureCount)));
        if (dataset.Target.Kind == TargetKind.ClassLabel)
        {
            if (labels != null) dataset.GatherLabels(examples, new Span<int>(labels, checked(examples.Length * dataset.Target.Length)));
        }
        else if (targets != null)
        {
            dataset.GatherTargets(examples, new Span<float>(targets, checked(examples.Length * dataset.Target.Width)));
        }
    }
}
