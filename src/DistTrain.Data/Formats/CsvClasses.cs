using System.Globalization;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>
/// The classes behind a label column. Where <c>data.classes</c> is given and every label is a whole number, a label is
/// its own class. Otherwise the classes are the training file's different labels, in numeric order where all are whole
/// numbers and in ordinal order of their spelling where not.
/// </summary>
internal sealed class CsvClasses
{
    /// <summary>More different labels than this are taken for a mistake.</summary>
    public const int Maximum = 1_000_000;

    private readonly CsvTable _table;
    private readonly bool _asGiven;
    private readonly Dictionary<string, int> _classes = new(StringComparer.Ordinal);

    public CsvClasses(CsvTable table, int? count)
    {
        _table = table;
        bool whole = table.Words.TrueForAll(w => TryWhole(w.Word, out _));
        if (count is { } given && whole)
        {
            _asGiven = true;
            Count = given;
            Names = new NumberedNames(given);
            return;
        }

        List<string> words = [.. table.Words.Select(w => w.Word)];
        if (whole)
        {
            words = [.. words.Select(w => Whole(w)).Distinct().Order().Select(n => n.ToString(CultureInfo.InvariantCulture))];
        }
        else
        {
            words.Sort(StringComparer.Ordinal);
        }

        if (count is { } wanted && wanted < words.Count)
        {
            throw new DistTrainException(ExitCode.BadData, $"{table.Path}: {table.Layout.Describe(table.Layout.Label)} has {words.Count} different labels; data.classes is {wanted}");
        }

        for (int i = 0; i < words.Count; i++) _classes.Add(words[i], i);
        Names = words;
        Count = count ?? words.Count;
    }

    /// <summary>Number of classes.</summary>
    public int Count { get; }

    /// <summary>The label behind each class.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>The class of each row of <paramref name="table"/>: the training file itself, or the test file.</summary>
    public int[] Labels(CsvTable table)
    {
        var classes = new int[table.Words.Count];
        for (int i = 0; i < classes.Length; i++) classes[i] = ClassOf(table, table.Words[i].Word, table.Words[i].Line);
        var labels = new int[table.Rows];
        ReadOnlySpan<int> words = table.LabelWords.Span;
        for (int i = 0; i < labels.Length; i++) labels[i] = classes[words[i]];
        return labels;
    }

    private int ClassOf(CsvTable table, string word, long line)
    {
        string where = $"{table.Path}:{line}: {table.Layout.Describe(table.Layout.Label)}";
        if (_asGiven)
        {
            if (TryWhole(word, out long label) && label >= 0 && label < Count) return (int)label;
            throw new DistTrainException(ExitCode.BadData, $"{where} is '{word}'; with data.classes {Count}, labels go from 0 to {Count - 1}");
        }

        string key = TryWhole(word, out long whole) && !_classes.ContainsKey(word) ? whole.ToString(CultureInfo.InvariantCulture) : word;
        if (_classes.TryGetValue(key, out int index)) return index;
        throw new DistTrainException(ExitCode.BadData, $"{where} is '{word}', a label that {_table.Path} doesn't have");
    }

    private static bool TryWhole(string word, out long value) =>
        long.TryParse(word, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);

    private static long Whole(string word) => TryWhole(word, out long value) ? value : throw new InvalidOperationException(word);
}
