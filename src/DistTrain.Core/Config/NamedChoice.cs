namespace DistTrain.Core.Config;

/// <summary>
/// A choice among named kinds, as a job writes it: a name alone (<c>relu</c>), or a map of one name with its options
/// (<c>dense: { out: 10 }</c>) or with its main value (<c>dense: 10</c>).
/// </summary>
/// <param name="Name">The kind, one of those allowed.</param>
/// <param name="Options">Its options or main value; an empty map when nothing was written.</param>
public readonly record struct NamedChoice(string Name, ConfigNode Options)
{
    /// <summary>Whether a single value was written in place of options.</summary>
    public bool HasMainValue => Options.Kind == ConfigKind.Scalar;

    /// <summary>Reads a choice.</summary>
    /// <param name="node">A scalar, or a map with one entry.</param>
    /// <param name="what">What is chosen, for messages: "layer", "optimizer".</param>
    /// <param name="allowed">The known kinds.</param>
    /// <exception cref="DistTrainException">The node has another form, or the kind is unknown (with the nearest one).</exception>
    public static NamedChoice Read(ConfigNode node, string what, IReadOnlyCollection<string> allowed)
    {
        bool named = node.Kind == ConfigKind.Scalar || (node.Kind == ConfigKind.Map && node.Entries.Count == 1);
        if (!named)
        {
            string got = node.Kind == ConfigKind.Map ? $"a map with the keys {string.Join(", ", node.Entries.Select(e => e.Key))}" : node.Describe();
            throw node.Error($"expected one {what}, as its name or as a map from its name to its options, got {got}");
        }

        string name = node.Kind == ConfigKind.Scalar ? node.AsText() : node.Entries[0].Key;
        if (!allowed.Contains(name, StringComparer.Ordinal)) throw node.Error($"unknown {what} '{name}'{NearestName.Hint(name, allowed)}");
        ConfigNode? options = node.Kind == ConfigKind.Scalar ? null : node.Entries[0].Value;
        return options is null || options.Kind == ConfigKind.Null
            ? new(name, ConfigNode.NewMap(node.Path.Length == 0 ? name : $"{node.Path}.{name}", node.Place))
            : new(name, options);
    }

    /// <summary>Refuses options that no reader asked for; for a kind without options, any at all.</summary>
    /// <exception cref="DistTrainException">Something was written that the kind does not take.</exception>
    public void RefuseUnknown()
    {
        if (Options.Kind == ConfigKind.List) throw Options.Error($"'{Name}' takes named options, got a list");
        if (Options.Kind == ConfigKind.Map && Options.Entries.Count > 0) Options.RefuseUnknownKeys();
    }

    /// <summary>Refuses any value or option.</summary>
    /// <exception cref="DistTrainException">Something was written.</exception>
    public void RefuseOptions()
    {
        if (Options.Kind != ConfigKind.Map || Options.Entries.Count > 0) throw Options.Error($"'{Name}' takes no options, got {Options.Describe()}");
    }
}
