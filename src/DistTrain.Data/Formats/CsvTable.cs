using System.Globalization;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>A delimited text file in memory: features and real targets as doubles, labels as words.</summary>
internal sealed class CsvTable
{
    private CsvTable(string path, CsvLayout layout, char delimiter, bool hasHeader)
    {
        Path = path;
        Layout = layout;
        Delimiter = delimiter;
        HasHeader = hasHeader;
    }

    public string Path { get; }

    public CsvLayout Layout { get; }

    public char Delimiter { get; }

    public bool HasHeader { get; }

    /// <summary>Features, (Rows, Layout.Features.Length).</summary>
    public GrowingArray<double> Features { get; private set; } = null!;

    /// <summary>Real targets, (Rows, Layout.Targets.Length).</summary>
    public GrowingArray<double> Targets { get; private set; } = null!;

    /// <summary>For each row an index into <see cref="Words"/>; empty where the targets are real.</summary>
    public GrowingArray<int> LabelWords { get; private set; } = null!;

    /// <summary>The labels in order of appearance, each with the line where it appeared first.</summary>
    public List<(string Word, long Line)> Words { get; } = [];

    public int Rows { get; private set; }

    public string ContentHash { get; private set; } = "";

    /// <summary>Reads a file to its end.</summary>
    /// <exception cref="DistTrainException">Naming file, line and column: a ragged row, a field that is no number, an
    /// unclosed quote, no rows at all.</exception>
    public static CsvTable Read(DataFile file, CsvOptions options, CsvTable? like = null)
    {
        char delimiter = options.Delimiter ?? like?.Delimiter ?? throw new InvalidOperationException("the delimiter is settled before a file is read");
        using var hasher = new ContentHasher("csv");
        var reader = new CsvReader(file, delimiter, hasher);
        if (!reader.Read()) throw file.Bad("is empty; expected rows of numbers");
        string[] first = new string[reader.FieldCount];
        for (int i = 0; i < first.Length; i++) first[i] = reader.Field(i).Trim().ToString();
        CsvLayout layout = CsvLayout.Decide(file.Path, first, options);
        bool hasHeader = layout.Names != null;
        if (like != null) RequireSameColumns(file, layout, like);
        var table = new CsvTable(file.Path, layout, delimiter, hasHeader)
        {
            Features = new(file),
            Targets = new(file),
            LabelWords = new(file),
        };
        var words = new Dictionary<string, int>(StringComparer.Ordinal);
        if (!hasHeader) table.AddRow(file, reader, words);
        while (reader.Read()) table.AddRow(file, reader, words);
        if (table.Rows == 0) throw file.Bad("has a header and no rows");
        table.ContentHash = hasher.Finish();
        return table;
    }

    private static void RequireSameColumns(DataFile file, CsvLayout layout, CsvTable like)
    {
        if (layout.Columns != like.Layout.Columns) throw file.Bad($"has {layout.Columns} columns, {like.Path} has {like.Layout.Columns}");
        if (layout.Names == null || like.Layout.Names == null) return;
        for (int i = 0; i < layout.Columns; i++)
        {
            if (layout.Names[i] != like.Layout.Names[i]) throw file.Bad($"{layout.Describe(i)} is '{like.Layout.Names[i]}' in {like.Path}; both files need the same columns");
        }
    }

    private void AddRow(DataFile file, CsvReader reader, Dictionary<string, int> words)
    {
        if (reader.FieldCount != Layout.Columns)
        {
            throw new DistTrainException(ExitCode.BadData, $"{file.Path}:{reader.Line}: {reader.FieldCount} fields; the first row has {Layout.Columns}");
        }

        foreach (int column in Layout.Features) Features.Add(Number(file, reader, column));
        foreach (int column in Layout.Targets) Targets.Add(Number(file, reader, column));
        if (Layout.Label >= 0) LabelWords.Add(Word(file, reader, words));
        Rows = checked(Rows + 1);
    }

    private double Number(DataFile file, CsvReader reader, int column)
    {
        ReadOnlySpan<char> text = reader.Field(column);
        bool isNumber = CsvNumber.TryParse(text, out double value);
        if (isNumber && Math.Abs(value) <= float.MaxValue) return value;
        string what = text.Trim().IsEmpty ? "is empty" : $"is '{Shorten(text)}'";
        string expected = isNumber ? "a number that a 32-bit float can hold" : "a number";
        throw new DistTrainException(ExitCode.BadData, $"{file.Path}:{reader.Line}: {Layout.Describe(column)} {what}; expected {expected}");
    }

    private int Word(DataFile file, CsvReader reader, Dictionary<string, int> words)
    {
        ReadOnlySpan<char> text = reader.Field(Layout.Label).Trim();
        if (text.IsEmpty) throw new DistTrainException(ExitCode.BadData, $"{file.Path}:{reader.Line}: {Layout.Describe(Layout.Label)} is empty; expected a label");
        var lookup = words.GetAlternateLookup<ReadOnlySpan<char>>();
        if (lookup.TryGetValue(text, out int known)) return known;
        if (Words.Count == CsvClasses.Maximum)
        {
            throw new DistTrainException(ExitCode.BadData, $"{file.Path}:{reader.Line}: {Layout.Describe(Layout.Label)} has more than {CsvClasses.Maximum.ToString(CultureInfo.InvariantCulture)} different labels; is it a real target? (data.targets)");
        }

        Words.Add((text.ToString(), reader.Line));
        words.Add(Words[^1].Word, Words.Count - 1);
        return Words.Count - 1;
    }

    private static string Shorten(ReadOnlySpan<char> text) => text.Length <= 40 ? text.ToString() : string.Concat(text[..37], "...");
}
