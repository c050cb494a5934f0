using DistTrain.Core;
using DistTrain.Core.Config;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace DistTrain.Jobs;

/// <summary>
/// A YAML document as it was written: maps, lists and texts with the place of each. Job files come from anywhere, so
/// what a job never needs is refused: anchors and aliases (whose expansion may explode), tags, several documents,
/// depth, duplicate keys.
/// </summary>
internal sealed class YamlTree(ConfigKind kind, string? text, string place)
{
    public const int MaximumDepth = 32;

    public ConfigKind Kind { get; private set; } = kind;

    public string? Text { get; private set; } = text;

    public string Place { get; private set; } = place;

    public List<(string Key, YamlTree Value)> Entries { get; } = [];

    public List<YamlTree> Items { get; } = [];

    /// <summary>Parses a text; <paramref name="placeOfLine"/> names a place in it for errors.</summary>
    public static YamlTree Parse(string text, Func<long, string> placeOfLine)
    {
        var parser = new Parser(new StringReader(text));
        long line = 1;
        try
        {
            parser.Consume<StreamStart>();
            if (parser.Accept<StreamEnd>(out _)) return new(ConfigKind.Null, null, placeOfLine(1));
            parser.Consume<DocumentStart>();
            YamlTree root = Node(0);
            parser.Consume<DocumentEnd>();
            if (!parser.Accept<StreamEnd>(out _)) throw Bad(parser.Current?.Start.Line ?? line, "a second document begins here; a job is one document");
            return root;
        }
        catch (YamlException e)
        {
            throw Bad(Math.Max(e.Start.Line, 1), $"not valid YAML: {Uncapitalised(e.Message)}", e);
        }
        catch (Exception e) when (e is not DistTrainException)
        {
            // The scanner's own slips on garbage.
            throw Bad(line, $"not valid YAML: {Uncapitalised(e.Message)}", e);
        }

        YamlTree Node(int depth)
        {
            ParsingEvent current = parser.Consume<ParsingEvent>();
            line = current.Start.Line;
            string place = placeOfLine(line);
            if (current is AnchorAlias) throw Bad(line, "aliases (*name) are not used in job files; write the value out");
            if (current is NodeEvent node)
            {
                if (!node.Anchor.IsEmpty) throw Bad(line, $"anchors (&{node.Anchor.Value}) are not used in job files; write the value out where it is needed");
                if (!node.Tag.IsEmpty && !node.Tag.IsNonSpecific) throw Bad(line, $"tags ({node.Tag.Value}) are not used in job files");
            }

            if (depth > MaximumDepth) throw Bad(line, $"nested deeper than {MaximumDepth} levels");
            switch (current)
            {
                case Scalar scalar:
                    return IsNull(scalar) ? new(ConfigKind.Null, null, place) : new(ConfigKind.Scalar, scalar.Value, place);
                case SequenceStart:
                    var list = new YamlTree(ConfigKind.List, null, place);
                    while (!parser.Accept<SequenceEnd>(out _)) list.Items.Add(Node(depth + 1));
                    parser.MoveNext();
                    return list;
                case MappingStart:
                    var map = new YamlTree(ConfigKind.Map, null, place);
                    var places = new Dictionary<string, string>(StringComparer.Ordinal);
                    while (!parser.Accept<MappingEnd>(out _))
                    {
                        YamlTree key = Node(depth + 1);
                        if (key.Kind is not ConfigKind.Scalar) throw new DistTrainException(ExitCode.BadUsage, $"{key.Place}: a key must be a plain word");
                        if (!places.TryAdd(key.Text!, key.Place)) throw new DistTrainException(ExitCode.BadUsage, $"{key.Place}: the key '{key.Text}' stands here a second time; first at {places[key.Text!]}");
                        YamlTree value = Node(depth + 1);
                        // Block maps and lists begin a line later than their key, where nobody looks first.
                        value.MoveTo(key.Place);
                        map.Entries.Add((key.Text!, value));
                    }

                    parser.MoveNext();
                    return map;
                default:
                    throw Bad(line, "not valid YAML: a value is missing");
            }
        }

        DistTrainException Bad(long at, string message, Exception? inner = null) => new(ExitCode.BadUsage, $"{placeOfLine(at)}: {message}", inner);
    }

    /// <summary>The entry of a map, or null.</summary>
    public YamlTree? Find(string key) => Entries.Find(e => e.Key == key).Value;

    /// <summary>Sets or replaces an entry of a map.</summary>
    public void Set(string key, YamlTree value)
    {
        int at = Entries.FindIndex(e => e.Key == key);
        if (at < 0) Entries.Add((key, value));
        else Entries[at] = (key, value);
    }

    /// <summary>Turns this node into an empty map.</summary>
    public void BecomeMap(string place)
    {
        (Kind, Text, Place) = (ConfigKind.Map, null, place);
        Entries.Clear();
        Items.Clear();
    }

    /// <summary>Names another place for errors about this node.</summary>
    public void MoveTo(string place) => Place = place;

    /// <summary>The same tree, whose nodes know their dotted path.</summary>
    public ConfigNode ToConfig(string name = "", ConfigNode? above = null)
    {
        switch (Kind)
        {
            case ConfigKind.List:
                var list = ConfigNode.NewList(name, Place, above);
                for (int i = 0; i < Items.Count; i++) list.Add(Items[i].ToConfig($"[{i}]", list));
                return list;
            case ConfigKind.Map:
                var map = ConfigNode.NewMap(name, Place, above);
                foreach ((string key, YamlTree value) in Entries) map.Set(key, value.ToConfig(above is null ? key : $".{key}", map));
                return map;
            default:
                return ConfigNode.NewScalar(Text, name, Place, above);
        }
    }

    private static bool IsNull(Scalar scalar) => scalar.Style == ScalarStyle.Plain && scalar.Value is "" or "~" or "null" or "Null" or "NULL";

    private static string Uncapitalised(string message) => message.Length > 1 && char.IsLower(message[1]) ? char.ToLowerInvariant(message[0]) + message[1..] : message;
}
