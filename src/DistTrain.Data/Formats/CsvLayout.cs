using System.Globalization;
using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>How a delimited text file is to be read, as the job says it.</summary>
/// <param name="Delimiter">The delimiter, or null to find it out from the first line.</param>
/// <param name="Header">Whether the first record names the columns, or null to find out.</param>
/// <param name="Label">The label column (name, or index from 0; from -1 at the end backwards), or null.</param>
/// <param name="Targets">Real target columns in place of a label.</param>
/// <param name="Ignore">Columns that are no features.</param>
internal sealed record CsvOptions(char? Delimiter, bool? Header, string? Label, IReadOnlyList<string> Targets, IReadOnlyList<string> Ignore);

/// <summary>What each column of a file is, decided from its first record.</summary>
internal sealed class CsvLayout
{
    private enum Role
    {
        Feature,
        Label,
        Target,
        Ignored,
    }

    private CsvLayout(string[]? names, int columns)
    {
        Names = names;
        Columns = columns;
    }

    /// <summary>The header, or null.</summary>
    public string[]? Names { get; }

    /// <summary>Fields of each record.</summary>
    public int Columns { get; }

    /// <summary>Columns that are features, ascending.</summary>
    public int[] Features { get; private set; } = [];

    /// <summary>The label column, or -1 where there are real targets.</summary>
    public int Label { get; private set; } = -1;

    /// <summary>The real target columns, in the job's order.</summary>
    public int[] Targets { get; private set; } = [];

    /// <summary>Decides from the first record of the file at <paramref name="path"/>.</summary>
    public static CsvLayout Decide(string path, string[] first, CsvOptions options)
    {
        bool header = options.Header ?? LooksLikeHeader(first, options);
        var layout = new CsvLayout(header ? first : null, first.Length);
        var roles = new Role[first.Length];
        foreach (string column in options.Ignore) roles[layout.Find(path, column, "data.ignore")] = Role.Ignored;
        layout.Targets = [.. options.Targets.Select(column => layout.Find(path, column, "data.targets"))];
        foreach (int column in layout.Targets) Claim(column, Role.Target);
        if (options.Targets.Count == 0)
        {
            // Where nothing is said, the label is the last column, as in most files of this kind.
            layout.Label = options.Label == null ? first.Length - 1 : layout.Find(path, options.Label, "data.label");
            Claim(layout.Label, Role.Label);
        }

        layout.Features = [.. Enumerable.Range(0, first.Length).Where(i => roles[i] == Role.Feature)];
        if (layout.Features.Length == 0) throw new DistTrainException(ExitCode.BadData, $"{path}: none of its {first.Length} columns is left as a feature; is the delimiter right?");
        return layout;

        void Claim(int column, Role role)
        {
            if (roles[column] != Role.Feature) throw new DistTrainException(ExitCode.BadUsage, $"{path}: {layout.Describe(column)} is named twice among data.label, data.targets and data.ignore");
            roles[column] = role;
        }
    }

    /// <summary>A column as errors call it.</summary>
    public string Describe(int column) => Names == null ? $"column {column + 1}" : $"column {column + 1} ('{Names[column]}')";

    private int Find(string path, string column, string key)
    {
        int byName = Names == null ? -1 : Array.IndexOf(Names, column);
        if (byName >= 0)
        {
            if (Array.IndexOf(Names!, column, byName + 1) >= 0) throw new DistTrainException(ExitCode.BadData, $"{path}: {key} names '{column}', and two columns are called so; give an index from 0");
            return byName;
        }

        if (int.TryParse(column, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int index))
        {
            int fromStart = index < 0 ? Columns + index : index;
            if (fromStart >= 0 && fromStart < Columns) return fromStart;
            throw new DistTrainException(ExitCode.BadUsage, $"{path}: {key} is {index}, and the file has {Columns} columns: 0 to {Columns - 1}, or -1 for the last");
        }

        throw new DistTrainException(ExitCode.BadUsage, Names == null
            ? $"{path}: {key} is '{column}', and the file has no header to find it in; give an index from 0"
            : $"{path}: {key} is '{column}', and no column is called so{NearestName.Hint(column, Names)}");
    }

    // A header is a first record with something that is no number where a number is expected. A label may be a word in
    // any row, so the columns named as such don't count.
    private static bool LooksLikeHeader(string[] first, CsvOptions options)
    {
        foreach (string? column in options.Targets.Append<string?>(options.Label))
        {
            if (column != null && !int.TryParse(column, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _)) return true;
        }

        string label = options.Label ?? "-1";
        for (int i = 0; i < first.Length; i++)
        {
            bool isLabel = options.Targets.Count == 0 && (Matches(label, i) || Matches(label, i - first.Length));
            bool ignored = options.Ignore.Any(column => Matches(column, i) || Matches(column, i - first.Length));
            if (!isLabel && !ignored && first[i].AsSpan().Trim().Length > 0 && !CsvNumber.TryParse(first[i], out _)) return true;
        }

        return false;

        static bool Matches(string column, int index) => column == index.ToString(CultureInfo.InvariantCulture);
    }
}

/// <summary>Numbers in text.</summary>
internal static class CsvNumber
{
    /// <summary>Parses a finite decimal number, blanks around it allowed.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out double value)
    {
        // Most fields of most files are short whole numbers.
        long whole = 0;
        int i = 0;
        while (i < text.Length && i < 15 && char.IsAsciiDigit(text[i])) whole = whole * 10 + (text[i++] - '0');
        if (i == text.Length && i > 0)
        {
            value = whole;
            return true;
        }

        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out value) && double.IsFinite(value);
    }
}
