using System.Collections.Immutable;
using System.Globalization;
using DistTrain.Core;
using DistTrain.Core.Layout;
using DistTrain.Core.Memory;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Data;
using DistTrain.Jobs;
using DistTrain.Kernels;
using DistTrain.Nn;
using DistTrain.Optim;
using DistTrain.Training;
using DistTrain.Training.Coordinator;
using DistTrain.Training.ParameterServer;
using DistTrain.Training.Worker;

namespace DistTrain.Composition;

/// <summary>A job put together: model, update rule and, where this process reads it, data.</summary>
internal sealed class JobContext
{
    private JobContext(Job job, DataFacts facts, string dataHash, string dataSummary, IDataset? train, IDataset? test)
    {
        (Job, Facts, DataHash, DataSummary, Train, Test) = (job, facts, dataHash, dataSummary, train, test);
        int? classes = facts.Classes > 0 ? facts.Classes : null, labels = classes is null ? null : facts.TargetWidth;
        Model = Model.Build(job.Model, job.Loss, facts.InputShape, classes, facts.TargetWidth, labels, Mixer.IsWanted(job.Data.Augment), job.Training.Precision);
        if (ConsistencyRules.Conflict(job) is { } conflict) throw new DistTrainException(ExitCode.BadUsage, $"{conflict.Section}: {conflict.Why}");
        _groups = Groups();
        RequireMonitored();
        Wire = JobWire.Options(this);
        _miniBatches = (facts.TrainExamples + job.Batch.Size - 1) / job.Batch.Size;
        StepsPerEpoch = (_miniBatches + MiniBatchesPerStep - 1) / MiniBatchesPerStep;
        TotalSteps = job.Training.TotalSteps(StepsPerEpoch);
    }

    private readonly ImmutableArray<ParameterGroup?> _groups;
    private readonly long _miniBatches;

    public Job Job { get; }

    public DataFacts Facts { get; }

    public string DataHash { get; }

    public string DataSummary { get; }

    public IDataset? Train { get; }

    public IDataset? Test { get; }

    public Model Model { get; }

    /// <summary>How tensors travel.</summary>
    public WireOptions Wire { get; }

    /// <summary>Whether members of one host share memory.</summary>
    public bool SharesMemory => (SharesWithHost || Job.Cluster.Colocated) && SharedRegion.IsSupported;

    /// <summary>Whether workers share memory with all servers of their host, or just with one of their own process.</summary>
    public bool SharesWithHost => Job.Cluster.Channel == ChannelChoice.Auto && SharedRegion.IsSupported;

    public long StepsPerEpoch { get; }

    /// <summary>Mini-batches of a step: more than one in local SGD.</summary>
    public int MiniBatchesPerStep => Job.Cluster.Consistency.Local?.Every ?? 1;

    public long TotalSteps { get; }

    /// <summary>The examples of one shard of a step, in the order of its mini-batches.</summary>
    public long[] Examples(long step, int shard)
    {
        var sampler = new Sampler(Facts.TrainExamples, Job.Batch.Size, Job.Seed);
        (long first, int count) = LocalRule.MiniBatches(step, MiniBatchesPerStep, _miniBatches);
        var all = new List<long>();
        for (long b = first; b < first + count; b++)
        {
            MiniBatch batch = sampler.At(b);
            (long start, long end) = ShardSlice.Of(batch.Size, Job.Batch.Shards, shard);
            var examples = new long[end - start];
            sampler.Fill(batch, (int)start, examples);
            all.AddRange(examples);
        }

        return [.. all];
    }

    /// <summary>Reads the job's data, or takes its arrays.</summary>
    public static JobContext Load(Job job)
    {
        LoadedData data = job.Arrays is { } arrays
            ? new("arrays", arrays.Train, arrays.Test, HashOf(arrays.Train, arrays.Test), [], Summary(arrays.Train, arrays.Test))
            : DatasetLoader.Load(job.Data, job.Seed);
        if (data.Train.Count == 0) throw new DistTrainException(ExitCode.BadData, $"{data.Name}: there are no examples to train on");
        TargetSpec target = data.Train.Target;
        bool labels = target.Kind == TargetKind.ClassLabel;
        var facts = new DataFacts(data.Train.InputShape, labels ? target.Width : 0, labels ? target.Length : target.Width, data.Train.Count, data.Test?.Count ?? 0);
        // Refuses what can't be done before anything starts.
        if (job.Data.Augment.Count > 0) _ = new Augmenter([.. job.Data.Augment], facts.InputShape, job.Seed);
        if (Mixer.IsWanted(job.Data.Augment)) _ = new Mixer([.. job.Data.Augment], facts.InputShape, target, job.Seed);
        return new JobContext(job, facts, data.DataHash, data.Summary, data.Train, data.Test);
    }

    /// <summary>For a process that reads no data: what it must know came with the job.</summary>
    public static JobContext WithoutData(Job job, DataFacts facts) => new(job, facts, "", "", null, null);

    /// <summary>
    /// Refuses a model whose vectors alone can't fit into this machine, where coordinator, servers and workers share it:
    /// better than being killed half-way.
    /// </summary>
    public void RequireMemory()
    {
        if (Job.Training.Memory is not null) Memory();
        long vectors = 2 + (Job.Optimizer.NeedsTrust ? 1 : 0) + Job.StateVectors.Count + (((Job.Cluster.Consistency.IsSync ? 4L : 6L) + (Job.Training.Ema is null ? 0 : 1)) * (Job.Cluster.MostWorkers ?? Job.Cluster.Workers)) + ((Job.Training.EarlyStopping is null ? 3 : 4) * (1 + Job.StateVectors.Count));
        double wanted = (double)vectors * Model.Layout.Length * sizeof(float), available = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        if (wanted > available)
        {
            throw new DistTrainException(ExitCode.BadUsage, $"the model has {Model.Layout.ElementCount:N0} parameters: with {Job.Cluster.Workers} workers and {Job.Cluster.Servers} servers here it wants about {wanted / (1 << 30):N1} GiB, and this machine has {available / (1 << 30):N1} GiB");
        }
    }

    /// <summary>What may not be as it is meant, in words; null for nothing.</summary>
    public string? Doubt => Job.Training.Ema is { } decay && TotalSteps * (1 - decay) < 1
        ? string.Create(CultureInfo.InvariantCulture, $"training.ema: the average reaches back over about {1 / (1 - decay):N0} steps, and the training has {TotalSteps:N0}: much of it is the initial weights; try {1 - (10.0 / Math.Max(TotalSteps, 20)):0.###}")
        : null;

    /// <summary>What the job gives up, in words; null for nothing.</summary>
    public string? GivesUp => Job.Cluster.Consistency.Local is { } local
        ? string.Create(CultureInfo.InvariantCulture, $"cluster.consistency is local_sgd: each of {Job.Batch.Shards} shards trains by itself for {RoundInWords(local.Every)} between two steps; the weights are {(Wire.Gradients.HoldsBack ? "" : "the same for any cluster, but ")}others than those of sync")
        : Job.Cluster.Consistency.IsSync
        ? null
        : $"cluster.consistency is {Job.Cluster.Consistency}: the weights depend on timing, so that another run of this job comes to others";

    // Rounds end with an epoch.
    private string RoundInWords(int every) => Math.Min(every, _miniBatches) switch
    {
        1 => "1 mini-batch",
        var most when most < every => string.Create(CultureInfo.InvariantCulture, $"a whole epoch ({most:N0} mini-batches)"),
        var most => string.Create(CultureInfo.InvariantCulture, $"{most:N0} mini-batches"),
    };

    public ServerSetup ServerSetup() => new(
        Model.Layout, Job.Batch.Shards, (offset, destination) => Model.Initialise(Job.Seed, offset, destination.Span), UpdateRule());

    public WorkerSetup WorkerSetup(int threads, CoreSet? cores) => new(
        Model, Train!, Test is { Count: > 0 } ? Test : null, Job.Seed, Job.Batch.Size, Job.Batch.Shards, threads)
    {
        Cores = cores,
        Memory = Job.Training.Memory,
        WatchEvery = WatchEvery,
        Consistency = Job.Cluster.Consistency,
        Local = Job.Cluster.Consistency.Local is { } local ? new LocalRule(local.Every, MiniBatchRule()) : null,
        MicroSize = Job.Batch.MicroSize,
        Wire = Wire,
        SharesMemory = SharesMemory,
        Averages = Job.Training.Ema is not null,
        IsJudged = IsMonitored ? version => Facts.TestExamples > 0 && Evaluate.IsDue(version, StepsPerEpoch, TotalSteps) : null,
        Augment = [.. Job.Data.Augment],
    };

    /// <summary>What a worker's buffers take.</summary>
    public MemoryReport Memory()
    {
        WorkerSetup setup = WorkerSetup(1, null);
        return MemoryReport.Of(Model, setup.MostRows, setup.Shards, setup.Memory);
    }

    public TrainingPlan Plan(string jobText, long firstVersion, TimeSpan joinTimeout) => new()
    {
        JobText = jobText,
        JobHash = Job.Hash,
        DataHash = DataHash,
        Data = Facts,
        NumericsRevision = NumericsRevision.Current,
        Shards = Job.Batch.Shards,
        StepsPerEpoch = StepsPerEpoch,
        TotalSteps = TotalSteps,
        Evaluates = Facts.TestExamples > 0,
        Monitoring = !IsMonitored ? null : new(Job.Training.EarlyStopping, Job.Schedule as PlateauSchedule, StepsPerEpoch),
        ForetellsSaving = Wire.Gradients.HoldsBack,
        Assists = Job.Cluster.Consistency.IsSync && !Wire.Gradients.HoldsBack,
        CheckpointEvery = Job.Checkpoint.Every.ToSteps(StepsPerEpoch),
        CheckpointPeriod = Job.Checkpoint.Every.Period,
        Workers = Job.Cluster.Workers,
        FewestWorkers = Job.Cluster.MostWorkers is null ? 1 : Job.Cluster.Workers,
        MostWorkers = Job.Cluster.MostWorkers ?? int.MaxValue,
        RejoinTimeout = Job.Cluster.WaitTimeout,
        Watchdog = Job.Cluster.Watchdog,
        Verify = Job.Cluster.Verify,
        Seed = Job.Seed,
        Servers = Job.Cluster.Servers,
        Replicas = Job.Cluster.Replicas,
        MostPartitions = BucketPlan.MostPartitions(Model.Layout),
        NormedLayout = Job.Training.ClipNorm is null && !Job.Optimizer.NeedsTrust && Model.LossScale is null ? null : Model.Layout,
        ScalesLoss = Model.LossScale is not null,
        NormedVectors = Job.Optimizer.NeedsTrust ? 2 : 1,
        Consistency = Job.Cluster.Consistency,
        // Formats over blocks make zeros of small gradients: those tell nothing of dead units.
        Watched = WatchEvery == 0 ? null : new WatchedModel(Model.Layout, Wire.Gradients is BlockFormat ? [] : Model.Rectified) { ScalesLoss = Model.LossScale is not null },
        BucketLength = Job.Cluster.BucketLength,
        Local = Job.Cluster.BucketLength is null ? LocalPace.Measure() : default,
        Layout = Model.Layout,
        FirstVersion = firstVersion,
        FailureTimeout = Job.Cluster.FailureTimeout,
        JoinTimeout = joinTimeout,
    };

    private long WatchEvery => Job.Cluster.Consistency is { IsSync: true, Local: null } ? Job.Training.WatchEvery : 0;

    // Of the mini-batch of a step: servers have no data, but know how much there is.
    private Func<long, int> BatchSizes()
    {
        var sampler = new Sampler(Facts.TrainExamples, Job.Batch.Size, Job.Seed);
        return step => sampler.At(step).Size;
    }

    private bool IsMonitored => Job.Training.EarlyStopping is not null || Job.Schedule is PlateauSchedule;

    // How weights change by a mini-batch: at the servers, or where shards train by themselves, at workers.
    private UpdateRule MiniBatchRule()
    {
        long total = Math.Min(TotalSteps * MiniBatchesPerStep, Job.Training.Epochs * _miniBatches);
        return new(Job.Optimizer.Create(), Job.Optimizer.StateVectors, step => Job.Schedule.LearningRate(Job.Optimizer.LearningRate, step + 1, total))
        {
            DecaysAll = Job.Optimizer.DecaysBiases,
            ClipNorm = Job.Training.ClipNorm,
            ClipValue = Job.Training.ClipValue,
            L1 = Job.Training.L1,
            Groups = _groups,
            BufferMomentum = Model.BufferMomentum,
            LossScale = Model.LossScale?.Tensor,
        };
    }

    private UpdateRule UpdateRule()
    {
        // What shards come to by themselves is the mean over them, in buffers too.
        UpdateRule rule = Job.Cluster.Consistency.Local is { Outer: var outer }
            ? new(outer.Create(), outer.StateVectors, _ => outer.LearningRate) { DecaysAll = outer.DecaysBiases, BufferMomentum = _ => 1 }
            : MiniBatchRule();
        return rule with
        {
            Wire = Wire,
            SharesMemory = SharesMemory,
            BatchSize = Job.Cluster.Consistency.IsSync ? null : BatchSizes(),
            Averaging = Job.Training.Ema is { } decay
                ? new WeightAveraging(decay, version => Facts.TestExamples > 0 && Evaluate.IsDue(version, StepsPerEpoch, TotalSteps))
                : null,
            WatchEvery = WatchEvery,
            Consistency = Job.Cluster.Consistency,
        };
    }

    // Also refuses what does not go together, before anything starts.
    private ImmutableArray<ParameterGroup?> Groups()
    {
        (string Key, bool Given)[] options = [("clip_norm", Job.Training.ClipNorm is not null), ("clip_value", Job.Training.ClipValue is not null), ("l1", Job.Training.L1 != 0), ("precision: fp16", Job.Training.Precision == FloatFormat.Float16)];
        foreach ((string key, bool given) in options)
        {
            if (given && Job.Optimizer.NeedsTrust) throw new DistTrainException(ExitCode.BadUsage, $"training: '{key}' does not go with the optimizer '{Job.Optimizer.Name}', whose steps are as long as each tensor's norm says; leave it out");
        }

        return Job.Optimizer.Groups.List.IsEmpty ? [] : Job.Optimizer.Groups.Of([.. Model.Layout.Tensors.Select(t => t.Name)]);
    }

    private void RequireMonitored()
    {
        string? listener = Job.Training.EarlyStopping is not null ? "training: 'early_stopping'" : Job.Schedule is PlateauSchedule ? "schedule: 'plateau'" : null;
        if (listener is null) return;
        if (Facts.TestExamples == 0) throw new DistTrainException(ExitCode.BadUsage, $"{listener} listens to evaluations, and there are no test examples; give 'data.test_fraction' or 'data.test_path'");
        if (Job.Training.EarlyStopping is { Monitor: MonitoredFigure.Accuracy } && !Model.HasAccuracy)
        {
            throw new DistTrainException(ExitCode.BadUsage, $"training: 'early_stopping.monitor' is accuracy, which has no meaning without class labels; monitor the loss");
        }
    }

    private static string HashOf(IDataset train, IDataset? test) => test is null ? train.ContentHash : $"{train.ContentHash}{test.ContentHash}";

    private static string Summary(IDataset train, IDataset? test) =>
        $"arrays: {train.Count:N0} training and {test?.Count ?? 0:N0} test examples of {train.FeatureCount} features, {train.Target}";
}
