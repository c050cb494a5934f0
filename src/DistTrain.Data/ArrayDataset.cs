using System.Collections.Immutable;
using System.Runtime.InteropServices;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// A dataset over arrays in the caller's own memory. Nothing is copied: the arrays must stay unchanged for as long as
/// the dataset is used.
/// </summary>
public sealed class ArrayDataset : IDataset
{
    private readonly ReadOnlyMemory<float> _inputs;
    private readonly ReadOnlyMemory<int> _labels;
    private readonly ReadOnlyMemory<float> _targets;
    private readonly Lazy<string> _hash;
    private readonly int _count;

    /// <summary>A classification dataset.</summary>
    /// <param name="inputs">Features, (count, product of <paramref name="inputShape"/>), row-major.</param>
    /// <param name="inputShape">Shape of one example's features, such as [64] or [1, 28, 28].</param>
    /// <param name="labels">One class label an example, within [0, <paramref name="classes"/>).</param>
    /// <param name="classes">Number of classes.</param>
    /// <exception cref="DistTrainException">Lengths that don't match, or a label out of range.</exception>
    public ArrayDataset(ReadOnlyMemory<float> inputs, ReadOnlySpan<int> inputShape, ReadOnlyMemory<int> labels, int classes)
        : this(inputs, inputShape, labels, classes, labelsAnExample: 1)
    {
    }

    /// <summary>A dataset of sequences with a label at each position.</summary>
    /// <param name="inputs">Features, (count, product of <paramref name="inputShape"/>), row-major.</param>
    /// <param name="inputShape">Shape of one example's features, such as [time] for token ids.</param>
    /// <param name="labels">(count, <paramref name="labelsAnExample"/>), row-major: labels within [0,
    /// <paramref name="classes"/>), or <see cref="TargetSpec.Ignored"/> at positions that count for nothing.</param>
    /// <param name="classes">Number of classes.</param>
    /// <param name="labelsAnExample">Labels an example, at least 1.</param>
    /// <exception cref="DistTrainException">Lengths that don't match, or a label out of range.</exception>
    public ArrayDataset(ReadOnlyMemory<float> inputs, ReadOnlySpan<int> inputShape, ReadOnlyMemory<int> labels, int classes, int labelsAnExample)
        : this(inputs, inputShape, RowsOf(labels.Length, labelsAnExample, "labels"), TargetSpec.Classes(classes, labelsAnExample), contentHash: null)
    {
        _labels = labels;
        if (classes < 1) throw Bad($"the number of classes is {classes}; at least 1 is needed");
        int least = labelsAnExample > 1 ? TargetSpec.Ignored : 0;
        ReadOnlySpan<int> span = labels.Span;
        for (int i = 0; i < span.Length; i++)
        {
            if (span[i] < least || span[i] >= classes) throw Bad($"example {i / labelsAnExample} has label {span[i]}; with {classes} classes, labels go from {least} to {classes - 1}");
        }
    }

    /// <summary>A regression dataset.</summary>
    /// <param name="inputs">Features, (count, product of <paramref name="inputShape"/>), row-major.</param>
    /// <param name="inputShape">Shape of one example's features.</param>
    /// <param name="targets">Real targets, (count, <paramref name="targetWidth"/>), row-major.</param>
    /// <param name="targetWidth">Real targets an example, at least 1.</param>
    /// <exception cref="DistTrainException">Lengths that don't match.</exception>
    public ArrayDataset(ReadOnlyMemory<float> inputs, ReadOnlySpan<int> inputShape, ReadOnlyMemory<float> targets, int targetWidth)
        : this(inputs, inputShape, RowsOf(targets.Length, targetWidth, "real targets"), TargetSpec.Real(targetWidth), contentHash: null) =>
        _targets = targets;

    /// <summary>As above, with the hash of the source that the arrays were read from.</summary>
    internal ArrayDataset(ReadOnlyMemory<float> inputs, ReadOnlySpan<int> inputShape, ReadOnlyMemory<int> labels, int classes, string contentHash)
        : this(inputs, inputShape, labels.Length, TargetSpec.Classes(classes), contentHash) => _labels = labels;

    /// <summary>As above, with the hash of the source that the arrays were read from.</summary>
    internal ArrayDataset(ReadOnlyMemory<float> inputs, ReadOnlySpan<int> inputShape, ReadOnlyMemory<float> targets, int targetWidth, string contentHash)
        : this(inputs, inputShape, RowsOf(targets.Length, targetWidth, "real targets"), TargetSpec.Real(targetWidth), contentHash) => _targets = targets;

    private ArrayDataset(ReadOnlyMemory<float> inputs, ReadOnlySpan<int> inputShape, int count, TargetSpec target, string? contentHash)
    {
        InputShape = [.. inputShape];
        FeatureCount = GatherChecks.FeatureCount(InputShape);
        Target = target;
        _inputs = inputs;
        _count = count;
        if (inputs.Length != (long)count * FeatureCount)
        {
            throw Bad($"{inputs.Length} input values for {count} targets; examples of shape [{string.Join(", ", InputShape)}] need {(long)count * FeatureCount}");
        }

        _hash = new(() => contentHash ?? Hash());
    }

    /// <inheritdoc/>
    public long Count => _count;

    /// <inheritdoc/>
    public ImmutableArray<int> InputShape { get; }

    /// <inheritdoc/>
    public int FeatureCount { get; }

    /// <inheritdoc/>
    public TargetSpec Target { get; }

    /// <summary>SHA-256 over shapes and values; computed when first asked for.</summary>
    public string ContentHash => _hash.Value;

    /// <inheritdoc/>
    public void GatherInputs(ReadOnlySpan<long> examples, Span<float> inputs)
    {
        GatherChecks.Destination(examples.Length, FeatureCount, inputs.Length);
        GatherRows(_inputs.Span, FeatureCount, examples, inputs);
    }

    /// <inheritdoc/>
    public void GatherLabels(ReadOnlySpan<long> examples, Span<int> labels)
    {
        GatherChecks.Kind(Target, TargetKind.ClassLabel);
        GatherChecks.Destination(examples.Length, Target.Length, labels.Length);
        GatherRows(_labels.Span, Target.Length, examples, labels);
    }

    /// <inheritdoc/>
    public void GatherTargets(ReadOnlySpan<long> examples, Span<float> targets)
    {
        GatherChecks.Kind(Target, TargetKind.RealValues);
        GatherChecks.Destination(examples.Length, Target.Width, targets.Length);
        GatherRows(_targets.Span, Target.Width, examples, targets);
    }

    private void GatherRows<T>(ReadOnlySpan<T> source, int width, ReadOnlySpan<long> examples, Span<T> destination)
    {
        for (int i = 0; i < examples.Length; i++)
        {
            int row = GatherChecks.Index(examples[i], _count);
            source.Slice(row * width, width).CopyTo(destination.Slice(i * width, width));
        }
    }

    private string Hash()
    {
        using var hash = new ContentHasher("array", InputShape, Target);
        hash.Append(MemoryMarshal.AsBytes(_inputs.Span));
        hash.Append(MemoryMarshal.AsBytes(_labels.Span));
        hash.Append(MemoryMarshal.AsBytes(_targets.Span));
        return hash.Finish();
    }

    private static int RowsOf(int values, int width, string what)
    {
        if (width < 1) throw Bad($"the number of {what} is {width}; at least 1 is needed");
        if (values % width != 0) throw Bad($"{values} target values are no whole number of examples with {width} targets each");
        return values / width;
    }

    private static DistTrainException Bad(string message) => new(ExitCode.BadData, message);
}
