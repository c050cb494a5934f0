using System.Text;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// Numbers for the words, characters and tags of a training file. Of words and characters, 0 is padding, or no character
/// there, and 1 is what the training file doesn't have; the others begin at 2. Words are ordered by how frequent they
/// are, then by spelling; characters and tags in ascending order.
/// </summary>
internal sealed class TaggedVocabulary
{
    public const int Unknown = 1;
    private const int First = 2;

    private readonly string _path;
    private readonly Dictionary<string, int> _words;
    private readonly Dictionary<int, int> _characters;
    private readonly Dictionary<string, int> _tags;

    public TaggedVocabulary(TaggedFile training, int minCount)
    {
        _path = training.Path;
        _words = Number(
            training.Words.GroupBy(w => w.Word, StringComparer.Ordinal).Where(g => g.Count() >= minCount)
                .OrderByDescending(g => g.Count()).ThenBy(g => g.Key, StringComparer.Ordinal).Select(g => g.Key),
            StringComparer.Ordinal,
            First);
        _characters = Number(new SortedSet<int>(training.Words.SelectMany(w => Runes(w.Word))), EqualityComparer<int>.Default, First);
        Tags = [.. training.Words.Select(w => w.Tag).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        _tags = Number(Tags, StringComparer.Ordinal, 0);
    }

    /// <summary>Word ids, the two special ones included: what an embedding needs.</summary>
    public int WordCount => _words.Count + First;

    /// <summary>The same for characters.</summary>
    public int CharacterCount => _characters.Count + First;

    /// <summary>The tags, by id.</summary>
    public IReadOnlyList<string> Tags { get; }

    /// <summary>A word's id: as it is spelled, else in lower case, else <see cref="Unknown"/>.</summary>
    public int WordId(string word) =>
        _words.TryGetValue(word, out int id) || _words.TryGetValue(word.ToLowerInvariant(), out id) ? id : Unknown;

    /// <summary>A tag's id.</summary>
    /// <exception cref="DistTrainException">The training file doesn't have it.</exception>
    public int TagId(TaggedFile file, string tag, int line) => _tags.TryGetValue(tag, out int id)
        ? id
        : throw new DistTrainException(ExitCode.BadData, $"{file.Path}:{line}: '{tag}' is a tag that {_path} doesn't have");

    /// <summary>Writes the ids of a word's first characters, then of its last, both in reading order: a short word has its
    /// missing ones behind the first, and before the last.</summary>
    public void CharacterIds(string word, Span<int> first, Span<int> last)
    {
        first.Clear();
        last.Clear();
        int[] characters = [.. Runes(word)];
        for (int i = 0; i < Math.Min(first.Length, characters.Length); i++) first[i] = Id(characters[i]);
        for (int i = 1; i <= Math.Min(last.Length, characters.Length); i++) last[^i] = Id(characters[^i]);
    }

    private int Id(int character) => _characters.GetValueOrDefault(character, Unknown);

    private static IEnumerable<int> Runes(string word) => word.EnumerateRunes().Select(r => r.Value);

    private static Dictionary<T, int> Number<T>(IEnumerable<T> items, IEqualityComparer<T> comparer, int from)
        where T : notnull
    {
        var numbers = new Dictionary<T, int>(comparer);
        foreach (T item in items) numbers.Add(item, from + numbers.Count);
        return numbers;
    }
}
