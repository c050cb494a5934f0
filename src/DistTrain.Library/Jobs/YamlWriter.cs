using System.Globalization;
using System.Text;
using DistTrain.Core.Config;

namespace DistTrain.Jobs;

/// <summary>
/// Writes a tree as YAML in one form only: block style, two blanks a level, texts quoted where they have to be. Equal
/// trees give equal text, which hashes rely on.
/// </summary>
internal static class YamlWriter
{
    public static string Write(YamlTree root)
    {
        var text = new StringBuilder();
        Entries(root, 0, text, indentFirst: true);
        return text.ToString();
    }

    private static void Entries(YamlTree map, int indent, StringBuilder text, bool indentFirst)
    {
        foreach ((string key, YamlTree value) in map.Entries)
        {
            if (indentFirst) text.Append(' ', indent);
            indentFirst = true;
            text.Append(Quoted(key)).Append(':');
            Value(value, indent, text);
        }
    }

    private static void Value(YamlTree value, int indent, StringBuilder text)
    {
        switch (value.Kind)
        {
            case ConfigKind.Map when value.Entries.Count > 0:
                text.Append('\n');
                Entries(value, indent + 2, text, indentFirst: true);
                break;
            case ConfigKind.List when value.Items.Count > 0:
                text.Append('\n');
                foreach (YamlTree item in value.Items)
                {
                    text.Append(' ', indent + 2).Append('-');
                    if (item is { Kind: ConfigKind.Map, Entries.Count: > 0 })
                    {
                        text.Append(' ');
                        Entries(item, indent + 4, text, indentFirst: false);
                    }
                    else
                    {
                        Value(item, indent + 2, text);
                    }
                }

                break;
            default:
                text.Append(' ').Append(value.Kind switch
                {
                    ConfigKind.Map => "{}",
                    ConfigKind.List => "[]",
                    ConfigKind.Null => "null",
                    _ => Quoted(value.Text!),
                }).Append('\n');
                break;
        }
    }

    private static string Quoted(string text)
    {
        bool plain = text.Length > 0 && (char.IsAsciiLetterOrDigit(text[0]) || text[0] is '/' or '.' or '_' || (text.Length > 1 && text[0] is '-' or '~' && text[1] != ' '))
            && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '/' or '.' or '_' or '-' or '+' or '~' or ' ')
            && text[^1] != ' ' && text is not ("null" or "Null" or "NULL") && !text.StartsWith("---", StringComparison.Ordinal) && !text.StartsWith("...", StringComparison.Ordinal);
        if (plain) return text;
        var quoted = new StringBuilder("\"");
        foreach (char c in text)
        {
            if (c is '"' or '\\') quoted.Append('\\').Append(c);
            else if (c is >= ' ' and < (char)127) quoted.Append(c);
            else quoted.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
        }

        return quoted.Append('"').ToString();
    }
}
