using System.Collections.Immutable;

namespace DistTrain.Data;

/// <summary>
/// Sentences as examples of [length, features] ids, as floats, with a tag's id at each position for a label; behind a
/// sentence's last word ids are 0 and labels <see cref="TargetSpec.Ignored"/>. Kept unpadded.
/// </summary>
internal sealed class TaggedDataset : IDataset
{
    private readonly int[] _ids;
    private readonly int[] _labels;
    private readonly int[] _starts;
    private readonly int _width;

    public TaggedDataset(TaggedFile file, TaggedVocabulary vocabulary, int length, int prefix, int suffix, string contentHash)
    {
        _width = 1 + prefix + suffix;
        _labels = new int[file.Words.Count];
        MemoryGuard.Check(file.Path, (long)file.Words.Count * _width * sizeof(int));
        _ids = new int[checked(file.Words.Count * _width)];
        for (int i = 0; i < _labels.Length; i++)
        {
            (string word, string tag, int line) = file.Words[i];
            Span<int> ids = _ids.AsSpan(i * _width, _width);
            ids[0] = vocabulary.WordId(word);
            vocabulary.CharacterIds(word, ids.Slice(1, prefix), ids[(1 + prefix)..]);
            _labels[i] = vocabulary.TagId(file, tag, line);
        }

        _starts = [.. Pieces(file.Starts, length)];
        InputShape = [length, _width];
        FeatureCount = GatherChecks.FeatureCount(InputShape);
        Target = TargetSpec.Classes(vocabulary.Tags.Count, length);
        ContentHash = contentHash;
    }

    public long Count => _starts.Length - 1;

    public ImmutableArray<int> InputShape { get; }

    public int FeatureCount { get; }

    public TargetSpec Target { get; }

    public string ContentHash { get; }

    public void GatherInputs(ReadOnlySpan<long> examples, Span<float> inputs)
    {
        GatherChecks.Destination(examples.Length, FeatureCount, inputs.Length);
        for (int i = 0; i < examples.Length; i++)
        {
            int example = GatherChecks.Index(examples[i], _starts.Length - 1);
            ReadOnlySpan<int> ids = _ids.AsSpan((_starts[example] * _width)..(_starts[example + 1] * _width));
            Span<float> row = inputs.Slice(i * FeatureCount, FeatureCount);
            for (int j = 0; j < ids.Length; j++) row[j] = ids[j];
            row[ids.Length..].Clear();
        }
    }

    public void GatherLabels(ReadOnlySpan<long> examples, Span<int> labels)
    {
        int length = Target.Length;
        GatherChecks.Destination(examples.Length, length, labels.Length);
        for (int i = 0; i < examples.Length; i++)
        {
            int example = GatherChecks.Index(examples[i], _starts.Length - 1);
            ReadOnlySpan<int> tags = _labels.AsSpan(_starts[example].._starts[example + 1]);
            Span<int> row = labels.Slice(i * length, length);
            tags.CopyTo(row);
            row[tags.Length..].Fill(TargetSpec.Ignored);
        }
    }

    public void GatherTargets(ReadOnlySpan<long> examples, Span<float> targets) => GatherChecks.Kind(Target, TargetKind.RealValues);

    private static IEnumerable<int> Pieces(List<int> starts, int length)
    {
        for (int s = 0; s < starts.Count - 1; s++)
        {
            for (int at = starts[s]; at < starts[s + 1]; at += length) yield return at;
        }

        yield return starts[^1];
    }
}
