using DistTrain.Core;

namespace DistTrain.Data;

/// <summary>Delimiters by name, and the guess from a file's first line.</summary>
internal static class CsvDelimiter
{
    private static readonly Dictionary<string, char> ByName = new(StringComparer.Ordinal)
    {
        ["comma"] = ',',
        [","] = ',',
        ["semicolon"] = ';',
        [";"] = ';',
        ["tab"] = '\t',
        ["\t"] = '\t',
        ["\\t"] = '\t',
        ["space"] = ' ',
        [" "] = ' ',
    };

    private static readonly string[] Names = ["comma", "semicolon", "tab", "space"];

    /// <summary>The delimiter that <c>data.delimiter</c> names.</summary>
    public static char Named(string name) => ByName.TryGetValue(name, out char delimiter)
        ? delimiter
        : throw new DistTrainException(ExitCode.BadUsage, $"data.delimiter is '{name}'{NearestName.Hint(name, Names)}");

    /// <summary>The most frequent of tab, semicolon and comma in the first line of the file, outside quotes; a space
    /// where none of them is there.</summary>
    public static char Guess(string path)
    {
        using DataFile file = DataFile.Open(path);
        var head = new byte[1 << 16];
        int length = file.Read(head);
        Span<int> counts = stackalloc int[4];
        bool quoted = false;
        foreach (byte b in head.AsSpan(0, length))
        {
            if (b == '"') quoted = !quoted;
            if (quoted) continue;
            if (b is (byte)'\n' or (byte)'\r' && counts.IndexOfAnyExcept(0) >= 0) break;
            int which = "\t;, ".IndexOf((char)b, StringComparison.Ordinal);
            if (which >= 0) counts[which]++;
        }

        int best = 0;
        for (int i = 1; i < 3; i++)
        {
            if (counts[i] > counts[best]) best = i;
        }

        if (counts[best] > 0) return "\t;,"[best];
        return counts[3] > 0 ? ' ' : ',';
    }
}
