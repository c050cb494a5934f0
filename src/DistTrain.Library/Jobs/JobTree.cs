using System.Globalization;
using DistTrain.Core.Config;
using DistTrain.Data;
using DistTrain.Kernels;
using DistTrain.Optim;

namespace DistTrain.Jobs;

/// <summary>Turns a job back into the tree that it could have been read from, with every value in it.</summary>
internal static class JobTree
{
    /// <summary>The whole job.</summary>
    public static YamlTree Of(Job job) => Map(
        ("name", Text(job.Name)),
        ("seed", Text(job.Seed.ToString(CultureInfo.InvariantCulture))),
        ("data", OfData(job.Data, withPaths: true)),
        ("model", SpecTree.Of(job.Model)),
        ("loss", SpecTree.Of(job.Loss)),
        ("optimizer", SpecTree.Of(job.Optimizer)),
        ("schedule", SpecTree.Of(job.Schedule)),
        ("batch", OfBatch(job.Batch, job.Batch.MicroSize)),
        ("training", OfTraining(job.Training, withLength: true)),
        ("wire", WireSectionReader.Write(job.Wire)),
        ("cluster", Map(
            ("workers", Text(WorkerCount.Write(job.Cluster))),
            ("servers", job.Cluster.Colocated ? Text("colocated") : Number(job.Cluster.Servers)),
            ("threads", Number(job.Cluster.Threads)),
            ("cores", Text(job.Cluster.Cores)),
            ("failure_timeout", Text(Number(job.Cluster.FailureTimeout.TotalMilliseconds)!.Text + "ms")),
            ("consistency", ConsistencyRules.Of(job.Cluster.Consistency)),
            ("channel", Text(job.Cluster.Channel == ChannelChoice.Grpc ? "grpc" : "auto")),
            ("replicas", Number(job.Cluster.Replicas)),
            ("wait_timeout", Text(Number(job.Cluster.WaitTimeout.TotalMilliseconds)!.Text + "ms")),
            ("watchdog", Text(job.Cluster.Watchdog is { } watchdog ? Number(watchdog.TotalMilliseconds)!.Text + "ms" : "never")),
            ("restarts", Number(job.Cluster.Restarts)),
            ("verify", job.Cluster.Verify > 0 ? Number(job.Cluster.Verify) : null),
            ("connections", Number(job.Cluster.Connections)),
            ("bucket_length", job.Cluster.BucketLength is { } length ? Number(length) : Text("auto")))),
        ("checkpoint", Map(
            ("path", Text(job.Checkpoint.Path)),
            ("every", Text(job.Checkpoint.Every.ToString())),
            ("keep", Number(job.Checkpoint.Keep)))));

    /// <summary>What decides the bits, and nothing else.</summary>
    public static YamlTree OfBits(Job job) => Map(
        ("seed", Text(job.Seed.ToString(CultureInfo.InvariantCulture))),
        ("data", job.Arrays is null ? OfData(job.Data, withPaths: false) : job.Data.Augment.Count > 0 ? Map(("augment", OfAugment(job.Data))) : null),
        ("model", SpecTree.Of(job.Model)),
        ("loss", SpecTree.Of(job.Loss)),
        ("optimizer", SpecTree.Of(job.Optimizer)),
        ("schedule", SpecTree.Of(job.Schedule)),
        ("batch", OfBatch(job.Batch, microSize: null)),
        ("training", OfTraining(job.Training, job.Schedule.SpansTraining)),
        ("cluster", job.Cluster.Consistency is { IsSync: true, Local: null } ? null : Map(("consistency", ConsistencyRules.Of(job.Cluster.Consistency)))),
        ("wire", WireSectionReader.WriteBits(job)));

    /// <summary>A map of those values that are there.</summary>
    public static YamlTree Map(params ReadOnlySpan<(string Key, YamlTree? Value)> entries)
    {
        var map = new YamlTree(ConfigKind.Map, null, "");
        foreach ((string key, YamlTree? value) in entries)
        {
            if (value is not null) map.Entries.Add((key, value));
        }

        return map;
    }

    public static YamlTree List(IEnumerable<YamlTree> items)
    {
        var list = new YamlTree(ConfigKind.List, null, "");
        list.Items.AddRange(items);
        return list;
    }

    public static YamlTree? Text(string? text) => text is null ? null : new(ConfigKind.Scalar, text, "");

    public static YamlTree? Number(long? value) => Text(value?.ToString(CultureInfo.InvariantCulture));

    /// <summary>The shortest text that reads back as the same number.</summary>
    public static YamlTree? Number(double? value) => Text(value?.ToString("R", CultureInfo.InvariantCulture));

    public static YamlTree? Flag(bool? value) => Text(value switch { true => "true", false => "false", null => null });

    private static YamlTree? OfTraining(TrainingOptions training, bool withLength) =>
        withLength || training.ClipNorm is not null || training.ClipValue is not null || training.L1 != 0 || training.Precision != FloatFormat.Float32 || training.Ema is not null
            ? Map(
                ("epochs", withLength ? Number(training.Epochs) : null),
                ("max_steps", withLength ? Number(training.MaxSteps) : null),
                ("clip_norm", Number(training.ClipNorm)),
                ("clip_value", Number(training.ClipValue)),
                ("l1", training.L1 == 0 ? null : Number(training.L1)),
                ("precision", training.Precision switch { FloatFormat.BFloat16 => Text("bf16"), FloatFormat.Float16 => Text("fp16"), _ => withLength ? Text("fp32") : null }),
                ("ema", Number(training.Ema)),
                ("watch_every", withLength ? Number(training.WatchEvery) : null),
                ("memory", withLength && training.Memory is { } bytes ? Text(string.Create(CultureInfo.InvariantCulture, $"{bytes}B")) : null),
                ("early_stopping", withLength && training.EarlyStopping is { } stopping ? OfEarlyStopping(stopping) : null))
            : null;

    private static YamlTree OfEarlyStopping(EarlyStopping stopping) => Map(
        ("patience", Number(stopping.Patience)),
        ("minimum_change", Number(stopping.MinimumChange)),
        ("monitor", Text(stopping.Monitor == MonitoredFigure.Loss ? "loss" : "accuracy")));

    private static YamlTree OfBatch(BatchOptions batch, int? microSize) =>
        Map(("size", Number(batch.Size)), ("shards", Number(batch.Shards)), ("micro_size", Number(microSize)));

    private static YamlTree OfData(DataSource data, bool withPaths) => Map(
        // Without a name it is found out from the path, which may differ between machines.
        ("name", withPaths ? Text(data.Name) : data.Path is null ? Text(data.Name ?? "digits") : null),
        ("path", withPaths ? Text(data.Path) : null),
        ("test_path", withPaths ? Text(data.TestPath) : null),
        ("labels_path", withPaths ? Text(data.LabelsPath) : null),
        ("header", Flag(data.Header)),
        ("label", Text(data.Label)),
        ("targets", Texts(data.Targets)),
        ("ignore", Texts(data.Ignore)),
        ("delimiter", Text(data.Delimiter)),
        ("classes", Number(data.Classes)),
        ("standardize", Flag(data.Standardize)),
        ("scale", Number(data.Scale)),
        ("test_fraction", Number(data.TestFraction)),
        ("context", Number(data.Context)),
        ("stride", Number(data.Stride)),
        ("vocabulary", Text(data.Vocabulary)),
        ("length", Number(data.Length)),
        ("min_count", Number(data.MinCount)),
        ("prefix", Number(data.Prefix)),
        ("suffix", Number(data.Suffix)),
        ("augment", OfAugment(data)));

    private static YamlTree? OfAugment(DataSource data) => data.Augment.Count == 0
        ? null
        : List(data.Augment.Select(a => Map((a.Kind, Map([.. a.Options.Select(o => (o.Key, Number(o.Value)))])))));

    private static YamlTree? Texts(IReadOnlyList<string> texts) => texts.Count == 0 ? null : List(texts.Select(t => Text(t)!));
}
