using System.Collections.Immutable;
using System.IO.Enumeration;
using DistTrain.Core.Config;

namespace DistTrain.Optim;

/// <summary>Tensors that the optimizer treats in a way of their own.</summary>
/// <param name="Match">
/// Which: a tensor's name, a layer's name, which stands for all its tensors, or either with <c>*</c> for any characters and
/// <c>?</c> for one: <c>*.bias</c>, <c>0</c>, <c>3.*.weight</c>.
/// </param>
/// <param name="LearningRateScale">What their learning rate is multiplied by.</param>
/// <param name="WeightDecay">Their weight decay, in place of the optimizer's; null for that.</param>
/// <param name="Frozen">Whether they keep their values. Running statistics go on.</param>
public sealed record ParameterGroup(string Match, double LearningRateScale = 1, double? WeightDecay = null, bool Frozen = false)
{
    /// <summary>Whether a tensor belongs to the group, by its name in the layout.</summary>
    public bool Contains(string tensor)
    {
        if (FileSystemName.MatchesSimpleExpression(Match, tensor, ignoreCase: false)) return true;
        for (int dot = tensor.IndexOf('.', StringComparison.Ordinal); dot >= 0; dot = tensor.IndexOf('.', dot + 1))
        {
            if (FileSystemName.MatchesSimpleExpression(Match, tensor.AsSpan(0, dot), ignoreCase: false)) return true;
        }

        return false;
    }

    internal static ParameterGroup Read(ConfigNode node)
    {
        var group = new ParameterGroup(
            node.Require("match").AsText(),
            node.Number("learning_rate_scale", 1, 0),
            node.Find("weight_decay")?.AsNumber(0),
            node.Flag("frozen", false));
        node.RefuseUnknownKeys();
        return group;
    }
}

/// <summary>A list of groups; a tensor belongs to the first that matches it.</summary>
public sealed record ParameterGroups(ImmutableArray<ParameterGroup> List)
{
    /// <summary>All tensors alike.</summary>
    public static ParameterGroups None { get; } = new([]);

    /// <summary>Two are the same when their groups are.</summary>
    public bool Equals(ParameterGroups? other) => other is not null && List.SequenceEqual(other.List);

    /// <inheritdoc/>
    public override int GetHashCode() => List.Aggregate(List.Length, HashCode.Combine);

    /// <summary>The group of each tensor, null for none.</summary>
    /// <param name="tensors">The tensors' names, in layout order.</param>
    /// <exception cref="Core.DistTrainException">A group matches no tensor, or none that an earlier one leaves.</exception>
    public ImmutableArray<ParameterGroup?> Of(IReadOnlyList<string> tensors)
    {
        ImmutableArray<ParameterGroup?> found = [.. tensors.Select(t => List.FirstOrDefault(g => g.Contains(t)))];
        foreach (ParameterGroup group in List)
        {
            if (found.Any(f => ReferenceEquals(f, group))) continue;
            string why = tensors.Any(group.Contains) ? "an earlier group takes all that it matches" : $"it matches no tensor; there are {string.Join(", ", tensors)}";
            throw new Core.DistTrainException(Core.ExitCode.BadUsage, $"optimizer: the group '{group.Match}' is of no use: {why}");
        }

        return found;
    }

    internal static ParameterGroups Read(ConfigNode options)
    {
        if (options.Find("groups") is not { } node) return None;
        if (node.Kind != ConfigKind.List) throw node.Error($"expected a list of groups such as [{{ match: '*.bias', weight_decay: 0 }}], got {node.Describe()}");
        return new ParameterGroups([.. node.Items.Select(ParameterGroup.Read)]);
    }
}
