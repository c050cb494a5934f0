using System.Globalization;
using DistTrain.Core.Channels;
using DistTrain.Core.Config;
using DistTrain.Data;
using DistTrain.Kernels;
using DistTrain.Nn;
using DistTrain.Optim;

namespace DistTrain.Jobs;

/// <summary>Reads the sections of a job. What is allowed, and what holds without being said, stands here.</summary>
internal static class JobSectionReader
{
    private const int Most = 1 << 20;

    // A clip at 0 would stop all training.
    private const double SmallestClip = 1e-12;

    // An average that keeps all of itself would stay where it began.
    private const double LargestDecay = 0.999999;

    public static Job Read(ConfigNode root)
    {
        DataSource data = ReadData(root);
        var job = new Job
        {
            Name = ReadName(root),
            Seed = ReadSeed(root),
            Data = data,
            Model = Section(root, "model", ModelSpec.FromConfig) ?? throw Missing(root, "model", "a list of layers, such as [flatten, dense: 64, relu, dense: 10]"),
            Loss = Section(root, "loss", LossSpec.FromConfig) ?? (data.Targets.Count > 0 ? Losses.SquaredError : Losses.SoftmaxCrossEntropy),
            Optimizer = Section(root, "optimizer", OptimizerSpec.FromConfig) ?? AdamSpec.Adam,
            Schedule = Section(root, "schedule", ScheduleSpec.FromConfig) ?? new ConstantSchedule(),
            Batch = Section(root, "batch", ReadBatch) ?? new(),
            Training = Section(root, "training", ReadTraining) ?? new(),
            Wire = Section(root, "wire", WireSectionReader.Read) ?? new(),
            Cluster = Section(root, "cluster", ReadCluster) ?? new(),
            Checkpoint = Section(root, "checkpoint", ReadCheckpoint) ?? new(),
        };
        root.RefuseUnknownKeys();
        WireSectionReader.Check(job, root);
        if (!job.Loss.TakesMixedLabels && data.Augment.FirstOrDefault(a => a is MixAugment) is { } mix)
        {
            ConfigNode at = root.Find("loss") ?? root;
            throw at.Error($"'{job.Loss.Kind}' {(job.Loss is SoftmaxCrossEntropySpec ? "with an ignore_index " : "")}takes whole labels, and '{mix.Kind}' in data.augment mixes them; leave one of the two out");
        }

        return ConsistencyRules.Check(job, root);
    }

    private static T? Section<T>(ConfigNode root, string key, Func<ConfigNode, T> read)
        where T : class => root.Find(key) is { } node ? read(node) : null;

    private static string ReadName(ConfigNode root)
    {
        if (root.Find("name") is not { } node) return "job";
        string name = node.AsText();
        bool plain = name.Length <= 64 && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-') && name is not ['.', ..];
        return plain && name.Length > 0 ? name : throw node.Error($"expected a name of letters, digits, '.', '_' and '-' (it names a directory), got {node.Describe()}");
    }

    private static ulong ReadSeed(ConfigNode root)
    {
        if (root.Find("seed") is not { } node) return 1;
        return node.Kind == ConfigKind.Scalar && ulong.TryParse(node.Scalar!.Replace("_", "", StringComparison.Ordinal), NumberStyles.None, CultureInfo.InvariantCulture, out ulong seed)
            ? seed
            : throw node.Error($"expected a whole number from 0 to {ulong.MaxValue}, got {node.Describe()}");
    }

    private static DataSource ReadData(ConfigNode root)
    {
        ConfigNode data = root.Find("data") ?? throw Missing(root, "data", "the examples, such as { name: digits } or { path: my.csv, label: species }");
        if (data.Kind == ConfigKind.Scalar) return new DataSource { Name = KnownSource(data) };
        var source = new DataSource
        {
            Name = data.Find("name") is { } name ? KnownSource(name) : null,
            Path = data.Find("path")?.AsText(),
            TestPath = data.Find("test_path")?.AsText(),
            LabelsPath = data.Find("labels_path")?.AsText(),
            Header = data.Find("header")?.AsFlag(),
            Label = data.Find("label")?.AsText(),
            Targets = Texts(data.Find("targets")),
            Ignore = Texts(data.Find("ignore")),
            Delimiter = data.Find("delimiter")?.AsText(),
            Classes = (int?)data.Find("classes")?.AsInteger(1, Most),
            Standardize = data.Flag("standardize", false),
            Scale = data.Find("scale")?.AsNumber(),
            TestFraction = data.Find("test_fraction")?.AsNumber(0, 0.9),
            Context = (int?)data.Find("context")?.AsInteger(1, Most),
            Stride = (int?)data.Find("stride")?.AsInteger(1, Most),
            Vocabulary = data.Find("vocabulary")?.AsText(),
            Length = (int?)data.Find("length")?.AsInteger(1, Most),
            MinCount = (int?)data.Find("min_count")?.AsInteger(1, Most),
            Prefix = (int?)data.Find("prefix")?.AsInteger(0, 64),
            Suffix = (int?)data.Find("suffix")?.AsInteger(0, 64),
            Augment = data.Find("augment") is { } augment ? Augmentations(augment) : [],
        };
        data.RefuseUnknownKeys();
        return source;
    }

    private static IReadOnlyList<AugmentSpec> Augmentations(ConfigNode node) => node.Kind == ConfigKind.List
        ? [.. node.Items.Select(AugmentSpec.FromConfig)]
        : throw node.Error($"expected a list, such as [flip, crop: 4], got {node.Describe()}");

    private static string KnownSource(ConfigNode node)
    {
        string name = node.AsText();
        return DatasetLoader.Names.Contains(name) ? name : throw node.Error($"unknown data source '{name}'{Core.NearestName.Hint(name, [.. DatasetLoader.Names])}");
    }

    private static IReadOnlyList<string> Texts(ConfigNode? node) => node switch
    {
        null => [],
        { Kind: ConfigKind.Scalar } => [node.AsText()],
        { Kind: ConfigKind.List } => [.. node.Items.Select(i => i.AsText())],
        _ => throw node.Error($"expected a column or a list of columns, got {node.Describe()}"),
    };

    private static BatchOptions ReadBatch(ConfigNode node)
    {
        var fallback = new BatchOptions();
        var batch = new BatchOptions
        {
            Size = (int)node.Integer("size", fallback.Size, 1, 1 << 24),
            Shards = (int)node.Integer("shards", fallback.Shards, 1, 4096),
        };
        if (node.Find("micro_size") is { } micro)
        {
            int shard = (batch.Size + batch.Shards - 1) / batch.Shards;
            batch = batch with { MicroSize = (int)micro.AsInteger(1, 1 << 24) };
            if (batch.MicroSize < shard) throw micro.Error($"expected at least {shard}, the examples of one of {batch.Shards} shards of {batch.Size}, got {micro.Describe()}; raise 'batch.shards' for smaller ones");
        }

        node.RefuseUnknownKeys();
        return batch;
    }

    private static TrainingOptions ReadTraining(ConfigNode node)
    {
        var training = new TrainingOptions
        {
            Epochs = (int)node.Integer("epochs", new TrainingOptions().Epochs, 1, Most),
            MaxSteps = node.Find("max_steps")?.AsInteger(1),
            ClipNorm = node.Find("clip_norm")?.AsNumber(SmallestClip),
            ClipValue = node.Find("clip_value")?.AsNumber(SmallestClip),
            L1 = node.Number("l1", 0, 0),
            Precision = node.Find("precision") is { } precision ? ReadPrecision(precision) : FloatFormat.Float32,
            Ema = node.Find("ema")?.AsNumber(0, LargestDecay),
            WatchEvery = node.Integer("watch_every", new TrainingOptions().WatchEvery, 0),
            Memory = node.Find("memory")?.AsBytes(),
            EarlyStopping = node.Find("early_stopping") is { } stopping ? ReadEarlyStopping(stopping) : null,
        };
        node.RefuseUnknownKeys();
        return training;
    }

    private static FloatFormat ReadPrecision(ConfigNode node) => node.AsText() switch
    {
        "fp32" => FloatFormat.Float32,
        "bf16" => FloatFormat.BFloat16,
        "fp16" => FloatFormat.Float16,
        _ => throw node.Error($"expected fp32, bf16 or fp16, got {node.Describe()}"),
    };

    private static EarlyStopping ReadEarlyStopping(ConfigNode node)
    {
        var fallback = new EarlyStopping();
        MonitoredFigure monitor = fallback.Monitor;
        if (node.Find("monitor") is { } figure)
        {
            monitor = figure.AsText() switch
            {
                "loss" => MonitoredFigure.Loss,
                "accuracy" => MonitoredFigure.Accuracy,
                _ => throw figure.Error($"expected loss or accuracy, got {figure.Describe()}"),
            };
        }

        var stopping = new EarlyStopping(node.Integer("patience", fallback.Patience, 1), node.Number("minimum_change", fallback.MinimumChange, 0), monitor);
        node.RefuseUnknownKeys();
        return stopping;
    }

    private static TimeSpan? ReadWatchdog(ConfigNode cluster, TimeSpan? fallback)
    {
        if (cluster.Find("watchdog") is not { } node) return fallback;
        if (node.Scalar == "never") return null;
        TimeSpan after = node.AsDuration();
        return after >= TimeSpan.FromMilliseconds(100) && after <= TimeSpan.FromDays(30) ? after : throw node.Error("out of range: expected 100ms to 30 days, or never");
    }

    private static ClusterOptions ReadCluster(ConfigNode node)
    {
        var fallback = new ClusterOptions();
        TimeSpan timeout = node.Duration("failure_timeout", fallback.FailureTimeout);
        if (timeout < TimeSpan.FromMilliseconds(100) || timeout > TimeSpan.FromHours(1)) throw node.Require("failure_timeout").Error("out of range: expected 100ms to 1h");
        (int workers, int? most) = node.Find("workers") is { } count ? WorkerCount.Read(count) : (fallback.Workers, null);
        TimeSpan wait = node.Duration("wait_timeout", fallback.WaitTimeout);
        if (wait < TimeSpan.Zero || wait > TimeSpan.FromDays(30)) throw node.Require("wait_timeout").Error("out of range: expected 0s to 30 days");
        int replicas = (int)node.Integer("replicas", fallback.Replicas, 0, 1);
        bool colocated = node.Find("servers") is { Kind: ConfigKind.Scalar, Scalar: "colocated" };
        var cluster = new ClusterOptions
        {
            Colocated = colocated,
            Workers = workers,
            MostWorkers = most,
            WaitTimeout = wait,
            Watchdog = ReadWatchdog(node, fallback.Watchdog),
            Restarts = (int)node.Integer("restarts", fallback.Restarts, 0, 1_000_000),
            Servers = colocated ? Math.Max(workers / (1 + replicas), 1) : (int)node.Integer("servers", fallback.Servers, 1, 4096),
            Threads = (int)node.Integer("threads", fallback.Threads, 1, 4096),
            Cores = node.Find("cores")?.AsText(),
            FailureTimeout = timeout,
            Consistency = node.Find("consistency") is { } consistency ? ConsistencyRules.Read(consistency) : fallback.Consistency,
            Channel = node.Find("channel") is { } channel ? ReadChannel(channel) : ChannelChoice.Auto,
            Replicas = replicas,
            Verify = node.Number("verify", fallback.Verify, 0, 1),
            Connections = (int)node.Integer("connections", fallback.Connections, 1, Lane.Most),
            BucketLength = node.Find("bucket_length") is { Scalar: not "auto" } length ? (int)length.AsInteger(1, 1 << 24) : null,
        };
        if (replicas > 0 && colocated && workers < 2) throw node.Require("replicas").Error("second copies of colocated servers need two workers at least: a copy never shares a process with the first one");
        if (cluster.Replicas > 0 && !cluster.Consistency.IsSync) throw node.Require("replicas").Error("second copies need consistency: sync, because elsewhere weights depend on timing");
        if (cluster.Verify > 0 && !cluster.Consistency.IsSync) throw node.Require("verify").Error("to compare shards' bits needs consistency: sync, because elsewhere weights depend on timing");
        node.RefuseUnknownKeys();
        return cluster;
    }

    private static ChannelChoice ReadChannel(ConfigNode node) => node.AsText() switch
    {
        "auto" => ChannelChoice.Auto,
        "grpc" => ChannelChoice.Grpc,
        _ => throw node.Error($"expected auto (shared memory within a host) or grpc, got {node.Describe()}"),
    };

    private static CheckpointOptions ReadCheckpoint(ConfigNode node)
    {
        var fallback = new CheckpointOptions();
        var checkpoint = new CheckpointOptions
        {
            Path = node.Find("path")?.AsText(),
            Every = node.Find("every") is { } every ? CheckpointInterval.FromConfig(every) : fallback.Every,
            Keep = (int)node.Integer("keep", fallback.Keep, 1, Most),
        };
        if (checkpoint.Path is { Length: 0 }) throw node.Require("path").Error("expected a directory, got an empty text");
        node.RefuseUnknownKeys();
        return checkpoint;
    }

    /// <summary>A missing key; where an unknown one is likely a slip for it, that is what is said.</summary>
    private static Core.DistTrainException Missing(ConfigNode root, string key, string expected)
    {
        ConfigNode? slip = root.Entries.Where(e => Core.NearestName.Of(e.Key, [key]) is not null).Select(e => e.Value).FirstOrDefault();
        return slip is not null
            ? new(Core.ExitCode.BadUsage, $"{slip.Place}: unknown key '{slip.Path}'; did you mean '{key}'?")
            : root.Error($"the key '{key}' is missing; expected {expected}");
    }
}
