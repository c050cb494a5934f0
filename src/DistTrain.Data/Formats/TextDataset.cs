using System.Collections.Immutable;

namespace DistTrain.Data;

/// <summary>
/// Windows of a text: an example is [context] character ids, as floats, its labels the characters that follow each of
/// them, which overlap with the example but for the last.
/// </summary>
internal sealed class TextDataset : IDataset
{
    // Characters are read in pieces of this many, on the stack.
    private const int Piece = 512;

    private readonly CharacterText _text;
    private readonly CharacterIds _ids;
    private readonly long _first;
    private readonly int _stride;

    /// <summary>Every window that lies whole within a part of a text and has a next character.</summary>
    /// <param name="text">The text.</param>
    /// <param name="ids">Numbers its characters.</param>
    /// <param name="first">Where the part begins.</param>
    /// <param name="length">Characters of the part.</param>
    /// <param name="context">Characters of a window.</param>
    /// <param name="stride">From the beginning of one to that of the next.</param>
    /// <param name="contentHash">Of the text, and of what part of it this is.</param>
    public TextDataset(CharacterText text, CharacterIds ids, long first, long length, int context, int stride, string contentHash)
    {
        (_text, _ids, _first, _stride) = (text, ids, first, stride);
        Count = length > context ? (length - context - 1) / stride + 1 : 0;
        InputShape = [context];
        Target = TargetSpec.Classes(ids.Count, context);
        ContentHash = ContentHasher.Combine("text", contentHash, $"context {context} stride {stride}");
    }

    public long Count { get; }

    public ImmutableArray<int> InputShape { get; }

    public int FeatureCount => Target.Length;

    public TargetSpec Target { get; }

    public string ContentHash { get; }

    public void GatherInputs(ReadOnlySpan<long> examples, Span<float> inputs)
    {
        GatherChecks.Destination(examples.Length, FeatureCount, inputs.Length);
        Span<int> piece = stackalloc int[Piece];
        for (int i = 0; i < examples.Length; i++)
        {
            long start = Start(examples[i]);
            Span<float> row = inputs.Slice(i * FeatureCount, FeatureCount);
            for (int t = 0; t < row.Length; t += Piece)
            {
                Span<int> ids = piece[..Math.Min(Piece, row.Length - t)];
                Read(start + t, ids);
                for (int j = 0; j < ids.Length; j++) row[t + j] = ids[j];
            }
        }
    }

    public void GatherLabels(ReadOnlySpan<long> examples, Span<int> labels)
    {
        GatherChecks.Destination(examples.Length, FeatureCount, labels.Length);
        for (int i = 0; i < examples.Length; i++) Read(Start(examples[i]) + 1, labels.Slice(i * FeatureCount, FeatureCount));
    }

    public void GatherTargets(ReadOnlySpan<long> examples, Span<float> targets) => GatherChecks.Kind(Target, TargetKind.RealValues);

    private void Read(long start, Span<int> ids)
    {
        _text.Read(start, ids);
        foreach (ref int id in ids) id = _ids[id];
    }

    private long Start(long example) => _first + (GatherChecks.Index(example, Count) * _stride);
}

/// <summary>Numbers characters in ascending order.</summary>
internal sealed class CharacterIds
{
    private readonly int[] _low;
    private readonly Dictionary<int, int> _high = [];

    /// <summary>Numbers these.</summary>
    /// <param name="characters">Ascending code points, without repetition.</param>
    public CharacterIds(IReadOnlyList<int> characters)
    {
        Count = characters.Count;
        _low = new int[characters.LastOrDefault(c => c <= char.MaxValue) + 1];
        for (int i = 0; i < characters.Count; i++)
        {
            if (characters[i] <= char.MaxValue) _low[characters[i]] = i;
            else _high.Add(characters[i], i);
        }
    }

    /// <summary>How many there are.</summary>
    public int Count { get; }

    /// <summary>The number of one of them.</summary>
    public int this[int character] => character < _low.Length ? _low[character] : _high[character];
}
