using System.Collections.Immutable;
using DistTrain.Core;

namespace DistTrain.Training.Checkpoints;

/// <summary>Says in which tensors a checkpoint and a model differ.</summary>
public static class ModelComparison
{
    // More than this many of a kind are counted, not listed.
    private const int Listed = 4;

    /// <summary>
    /// Compares the tensors of a checkpoint with those of a model by name and shape; their order doesn't count. Null
    /// where they are the same, else such as "tensor 0.weight is [10, 64] there, [32, 64] here; missing: 2.bias".
    /// </summary>
    public static string? Differences(
        IEnumerable<(string Name, ImmutableArray<int> Shape)> there,
        IEnumerable<(string Name, ImmutableArray<int> Shape)> here)
    {
        var theirs = there.ToDictionary(t => t.Name, t => t.Shape, StringComparer.Ordinal);
        var ours = here.ToList();
        var parts = new List<string>();
        List<string> shapes = [.. ours
            .Where(t => theirs.TryGetValue(t.Name, out ImmutableArray<int> shape) && !shape.SequenceEqual(t.Shape))
            .Select(t => $"tensor {t.Name} is {Text(theirs[t.Name])} there, {Text(t.Shape)} here")];
        List<string> missing = [.. ours.Where(t => !theirs.ContainsKey(t.Name)).Select(t => t.Name)];
        var ourNames = ours.Select(t => t.Name).ToHashSet(StringComparer.Ordinal);
        List<string> extra = [.. theirs.Keys.Where(name => !ourNames.Contains(name))];
        if (shapes.Count > 0) parts.Add(List(shapes));
        if (missing.Count > 0) parts.Add("missing: " + List(missing));
        if (extra.Count > 0) parts.Add("not in this model: " + List(extra));
        return parts.Count == 0 ? null : string.Join("; ", parts);
    }

    /// <summary>Refuses a checkpoint of another model.</summary>
    /// <exception cref="DistTrainException">BadData: which tensors differ, and how.</exception>
    public static void RequireSameModel(string path, CheckpointManifest manifest, IEnumerable<(string Name, ImmutableArray<int> Shape)> here)
    {
        if (Differences(manifest.Tensors.Select(t => (t.Name, t.Shape)), here) is { } differences)
        {
            throw new DistTrainException(ExitCode.BadData, $"checkpoint {path} is of another model: {differences}");
        }
    }

    private static string Text(ImmutableArray<int> shape) => $"[{string.Join(", ", shape)}]";

    private static string List(List<string> items) => items.Count <= Listed
        ? string.Join(", ", items)
        : $"{string.Join(", ", items.Take(Listed))} and {items.Count - Listed} more";
}
