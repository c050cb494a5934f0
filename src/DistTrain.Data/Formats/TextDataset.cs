using System.Collections.Immutable;

namespace DistTrain.Data;

/// <summary>
/// Windows of a text: an example is [context] character ids, as floats, its labels the characters that follow each of
/// them, which overlap with the example but for the last.
/// </summary>
internal sealed class TextDataset : IDataset
{
    private readonly byte[]? _narrow;
    private readonly int[]? _wide;
    private readonly int _stride;

    /// <summary>Every window that lies whole within the text and has a next character.</summary>
    /// <param name="ids">The text.</param>
    /// <param name="classes">Size of the vocabulary.</param>
    /// <param name="context">Characters of a window.</param>
    /// <param name="stride">From the beginning of one to that of the next.</param>
    /// <param name="contentHash">Of the text, and of what part of it this is.</param>
    public TextDataset(ReadOnlySpan<int> ids, int classes, int context, int stride, string contentHash)
    {
        // One byte a character does for nearly all alphabets.
        if (classes <= 256)
        {
            _narrow = new byte[ids.Length];
            for (int i = 0; i < ids.Length; i++) _narrow[i] = (byte)ids[i];
        }
        else
        {
            _wide = ids.ToArray();
        }

        _stride = stride;
        Count = ids.Length > context ? ((long)ids.Length - context - 1) / stride + 1 : 0;
        InputShape = [context];
        Target = TargetSpec.Classes(classes, context);
        ContentHash = ContentHasher.Combine("text", contentHash, $"context {context} stride {stride}");
    }

    public long Count { get; }

    public ImmutableArray<int> InputShape { get; }

    public int FeatureCount => Target.Length;

    public TargetSpec Target { get; }

    public string ContentHash { get; }

    public void GatherInputs(ReadOnlySpan<long> examples, Span<float> inputs)
    {
        int context = FeatureCount;
        GatherChecks.Destination(examples.Length, context, inputs.Length);
        for (int i = 0; i < examples.Length; i++)
        {
            long start = Start(examples[i]);
            Span<float> row = inputs.Slice(i * context, context);
            if (_narrow != null)
            {
                ReadOnlySpan<byte> ids = _narrow.AsSpan((int)start, context);
                for (int t = 0; t < context; t++) row[t] = ids[t];
            }
            else
            {
                ReadOnlySpan<int> ids = _wide.AsSpan((int)start, context);
                for (int t = 0; t < context; t++) row[t] = ids[t];
            }
        }
    }

    public void GatherLabels(ReadOnlySpan<long> examples, Span<int> labels)
    {
        int context = FeatureCount;
        GatherChecks.Destination(examples.Length, context, labels.Length);
        for (int i = 0; i < examples.Length; i++)
        {
            long start = Start(examples[i]) + 1;
            Span<int> row = labels.Slice(i * context, context);
            if (_narrow != null)
            {
                ReadOnlySpan<byte> ids = _narrow.AsSpan((int)start, context);
                for (int t = 0; t < context; t++) row[t] = ids[t];
            }
            else
            {
                _wide.AsSpan((int)start, context).CopyTo(row);
            }
        }
    }

    public void GatherTargets(ReadOnlySpan<long> examples, Span<float> targets) => GatherChecks.Kind(Target, TargetKind.RealValues);

    private long Start(long example) => GatherChecks.Index(example, (int)Count) * (long)_stride;
}
