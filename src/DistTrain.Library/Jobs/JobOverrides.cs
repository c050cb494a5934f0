using System.Globalization;
using DistTrain.Core;
using DistTrain.Core.Config;

namespace DistTrain.Jobs;

/// <summary>Applies <c>--set key=value</c> to a job's tree, in the order given; a later one wins.</summary>
internal static class JobOverrides
{
    /// <summary>The place that errors about overridden values name.</summary>
    private const string Place = "--set";

    /// <summary>Keys whose map holds one choice, such as <c>optimizer: { adam: … }</c>: another choice replaces it.</summary>
    private static readonly HashSet<string> Choices = new(StringComparer.Ordinal) { "loss", "optimizer", "schedule" };

    /// <summary>Applies one <c>key=value</c>: the key is a dotted path (list items by number: <c>model.0.dense=32</c>),
    /// the value YAML.</summary>
    public static void Apply(YamlTree root, string assignment)
    {
        int equals = assignment.IndexOf('=', StringComparison.Ordinal);
        if (equals <= 0) throw Bad($"'{assignment}': expected key=value, such as training.epochs=5");
        string path = assignment[..equals].Trim();
        string[] keys = path.Replace("[", ".", StringComparison.Ordinal).Replace("]", "", StringComparison.Ordinal).Split('.');
        if (keys.Any(k => k.Length == 0)) throw Bad($"'{path}': a key is empty; expected a dotted path such as training.epochs");
        if (keys.Length > YamlTree.MaximumDepth) throw Bad($"'{path}': nested deeper than {YamlTree.MaximumDepth} levels");
        YamlTree value = YamlTree.Parse(assignment[(equals + 1)..], _ => $"{Place} {path}");
        Replace(value);

        if (root.Kind == ConfigKind.Null) root.BecomeMap(Place);
        YamlTree node = root;
        for (int i = 0; i < keys.Length - 1; i++)
        {
            YamlTree child = Child(node, keys[i], path);
            if (child.Kind is ConfigKind.Null or ConfigKind.Scalar)
            {
                // 'optimizer: adam' is short for 'optimizer: { adam: {} }'; the longer form is needed now.
                child.BecomeMap(Place);
            }
            else if (i == 0 && Choices.Contains(keys[0]) && child.Find(keys[1]) is null)
            {
                child.BecomeMap(Place);
            }

            node = child;
        }

        if (node.Kind == ConfigKind.List) node.Items[ItemIndex(node, keys[^1], path)] = value;
        else node.Set(keys[^1], value);
    }

    private static YamlTree Child(YamlTree node, string key, string path)
    {
        if (node.Kind == ConfigKind.List) return node.Items[ItemIndex(node, key, path)];
        if (node.Find(key) is { } child) return child;
        child = new YamlTree(ConfigKind.Null, null, Place);
        node.Set(key, child);
        return child;
    }

    private static int ItemIndex(YamlTree list, string key, string path) =>
        int.TryParse(key, NumberStyles.None, CultureInfo.InvariantCulture, out int index) && index < list.Items.Count
            ? index
            : throw Bad($"'{path}': '{key}' is no item of a list of {list.Items.Count}; items count from 0");

    private static void Replace(YamlTree value)
    {
        value.MoveTo(Place);
        foreach (YamlTree item in value.Items) Replace(item);
        foreach ((_, YamlTree child) in value.Entries) Replace(child);
    }

    private static DistTrainException Bad(string message) => new(ExitCode.BadUsage, $"{Place} {message}");
}
