using System.Globalization;
using DistTrain.Core.Config;
using DistTrain.Kernels;
using DistTrain.Optim;
using DistTrain.Training;

namespace DistTrain.Jobs;

/// <summary><c>cluster.consistency</c>: how it is written, and what it does not go with.</summary>
internal static class ConsistencyRules
{
    /// <summary>Reads <c>sync</c>, <c>async</c>, <c>ssp: 3</c> or <c>ssp: { bound: 3 }</c>.</summary>
    public static Consistency Read(ConfigNode node)
    {
        NamedChoice choice = NamedChoice.Read(node, "consistency", ["sync", "async", "ssp", "local_sgd"]);
        if (choice.Name == "local_sgd") return ReadLocal(node, choice);
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

    private static Consistency ReadLocal(ConfigNode node, NamedChoice choice)
    {
        ConfigNode every = choice.HasMainValue
            ? choice.Options
            : choice.Options.Find("every") ?? throw node.Error("'local_sgd' needs to know after how many mini-batches shards come together, such as { local_sgd: { every: 16 } }");
        OptimizerSpec outer = !choice.HasMainValue && choice.Options.Find("outer") is { } optimizer ? OptimizerSpec.FromConfig(optimizer) : Averaging;
        if (outer.NeedsTrust) throw node.Error($"'{outer.Name}' goes by the norms of a mini-batch's gradient, and what shards moved by is none; the outer optimizer may be any other");
        var local = new LocalSgd((int)every.AsInteger(1, LocalSgd.MostMiniBatches), outer);
        choice.RefuseUnknown();
        return Consistency.Sync with { Local = local };
    }

    // The mean of the shards' weights.
    private static SgdSpec Averaging { get; } = new(LearningRate: 1, Momentum: 0);

    /// <summary>As a job writes it.</summary>
    public static YamlTree Of(Consistency consistency)
    {
        if (consistency.Local is { } local) return JobTree.Map(("local_sgd", JobTree.Map(("every", JobTree.Number((long?)local.Every)), ("outer", SpecTree.Of(local.Outer)))));
        if (consistency.IsSync) return JobTree.Text("sync")!;
        return consistency.IsAsync
            ? JobTree.Text("async")!
            : JobTree.Map(("ssp", JobTree.Map(("bound", JobTree.Text(consistency.Bound.ToString(CultureInfo.InvariantCulture))))));
    }

    /// <summary>What a job has that needs synchronous steps, and why; null for nothing.</summary>
    public static (string Section, string? Key, string Why)? Conflict(Job job)
    {
        if (job.Cluster.Consistency.Local is not null) return LocalConflict(job);
        if (job.Cluster.Consistency.IsSync) return null;
        string needs = $"needs synchronous steps, and cluster.consistency is {job.Cluster.Consistency}; leave one of the two out";
        if (job.Training.ClipNorm is not null) return ("training", "clip_norm", $"'clip_norm' bounds the gradient of a whole mini-batch: it {needs}, or use 'clip_value'");
        if (job.Training.Precision == FloatFormat.Float16) return ("training", "precision", $"fp16 decides for each mini-batch whether its scaled gradient overflowed: it {needs}, or use bf16");
        if (job.Wire.Gradients == GradientWire.TopK) return ("wire", "gradients", $"what top_k holds back belongs to a worker's next step: it {needs}");
        if (job.Optimizer.NeedsTrust) return ("optimizer", null, $"'{job.Optimizer.Name}' goes by the norms of a whole mini-batch's gradient: it {needs}");
        return null;
    }

    private static (string Section, string? Key, string Why)? LocalConflict(Job job)
    {
        string by = "by itself between two steps of cluster.consistency: local_sgd";
        if (job.Training.ClipNorm is not null) return ("training", "clip_norm", $"'clip_norm' bounds the gradient of a whole mini-batch, and each shard trains {by}; use 'clip_value'");
        if (job.Training.Precision == FloatFormat.Float16) return ("training", "precision", $"fp16 scales the loss by what the servers see of its gradients, and each shard trains {by}; use bf16");
        if (job.Optimizer.NeedsTrust) return ("optimizer", null, $"'{job.Optimizer.Name}' goes by the norms of a whole mini-batch's gradient, and each shard trains {by}");
        if (job.Schedule is PlateauSchedule) return ("schedule", null, $"'plateau' changes the servers' rate, and each shard trains {by}");
        return null;
    }

    /// <summary>Refuses what needs synchronous steps, by its place; and looks at no gradients where there are none of whole mini-batches.</summary>
    public static Job Check(Job job, ConfigNode root)
    {
        if (job.Cluster.Consistency is { IsSync: true, Local: null }) return job;
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
