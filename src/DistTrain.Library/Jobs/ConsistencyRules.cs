using System.Globalization;
using DistTrain.Core.Config;
using DistTrain.Kernels;
using DistTrain.Training;

namespace DistTrain.Jobs;

/// <summary><c>cluster.consistency</c>: how it is written, and what it does not go with.</summary>
internal static class ConsistencyRules
{
    /// <summary>Reads <c>sync</c>, <c>async</c>, <c>ssp: 3</c> or <c>ssp: { bound: 3 }</c>.</summary>
    public static Consistency Read(ConfigNode node)
    {
        NamedChoice choice = NamedChoice.Read(node, "consistency", ["sync", "async", "ssp"]);
        if (choice.Name != "ssp")
        {
            choice.RefuseOptions();
            return choice.Name == "sync" ? Consistency.Sync : Consistency.Async;
        }

        ConfigNode bound = choice.HasMainValue
            ? choice.Options
            : choice.Options.Find("bound") ?? throw node.Error("'ssp' needs a bound: how many steps a worker's weights may lack, such as { ssp: { bound: 3 } }");
        Consistency consistency = Consistency.Ssp((int)bound.AsInteger(0, Consistency.MostAhead - 2));
        choice.RefuseUnknown();
        return consistency;
    }

    /// <summary>As a job writes it.</summary>
    public static YamlTree Of(Consistency consistency)
    {
        if (consistency.IsSync) return JobTree.Text("sync")!;
        return consistency.IsAsync
            ? JobTree.Text("async")!
            : JobTree.Map(("ssp", JobTree.Map(("bound", JobTree.Text(consistency.Bound.ToString(CultureInfo.InvariantCulture))))));
    }

    /// <summary>What a job has that needs synchronous steps, and why; null for nothing.</summary>
    public static (string Section, string? Key, string Why)? Conflict(Job job)
    {
        if (job.Cluster.Consistency.IsSync) return null;
        string needs = $"needs synchronous steps, and cluster.consistency is {job.Cluster.Consistency}; leave one of the two out";
        if (job.Training.ClipNorm is not null) return ("training", "clip_norm", $"'clip_norm' bounds the gradient of a whole mini-batch: it {needs}, or use 'clip_value'");
        if (job.Training.Precision == FloatFormat.Float16) return ("training", "precision", $"fp16 decides for each mini-batch whether its scaled gradient overflowed: it {needs}, or use bf16");
        if (job.Wire.Gradients == GradientWire.TopK) return ("wire", "gradients", $"what top_k holds back belongs to a worker's next step: it {needs}");
        if (job.Optimizer.NeedsTrust) return ("optimizer", null, $"'{job.Optimizer.Name}' goes by the norms of a whole mini-batch's gradient: it {needs}");
        return null;
    }

    /// <summary>Refuses what needs synchronous steps, by its place; and looks at no gradients where there are none of whole mini-batches.</summary>
    public static Job Check(Job job, ConfigNode root)
    {
        if (job.Cluster.Consistency.IsSync) return job;
        if (Conflict(job) is (string section, var key, string why))
        {
            ConfigNode at = root.Find(section) ?? root;
            throw (key is null ? at : at.Find(key) ?? at).Error(why);
        }

        if (root.Find("training")?.Find("watch_every") is { } watch && job.Training.WatchEvery > 0)
        {
            throw watch.Error($"the gradients of whole mini-batches are there in synchronous steps only, and cluster.consistency is {job.Cluster.Consistency}; leave one of the two out");
        }

        return job with { Training = job.Training with { WatchEvery = 0 } };
    }
}
