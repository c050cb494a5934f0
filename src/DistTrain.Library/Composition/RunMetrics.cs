using DistTrain.Core;
using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;
using DistTrain.Kernels;
using DistTrain.Training.Coordinator;

namespace DistTrain.Composition;

/// <summary>Turns the coordinator's events into what a user sees and into the closing figures.</summary>
internal sealed class RunMetrics(JobContext context, long firstVersion, string? resumedFrom, string? channel, ITrainingObserver observer, TimeProvider time) : ICoordinatorEvents
{
    // Steps at the start that JIT and caches make slow: not counted as steady state.
    private const int WarmUpSteps = 10;

    private readonly TaskCompletionSource<Outcome> _finished = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly StepTimes _times = new();
    private readonly List<Failure> _failures = [];
    private readonly List<(int Failure, long Since)> _recovering = [];
    private readonly List<Member> _members = [];
    private readonly long _began = time.GetTimestamp();
    private SegmentStats _epoch;
    private SegmentStats _lastEpoch;
    private SegmentStats? _test;
    private WatchReport? _watched;
    private double? _noiseScale;
    private long _testVersion;
    private long _examples;
    private long _steadyExamples;
    private double _rate;
    private long _lastCommit;
    private bool _gap = true;
    private bool _follows;
    // What stood at versions that the job may go back to, ascending.
    private readonly List<Standing> _stood = [new(firstVersion, 0, default, default)];

    /// <summary>Told which examples counted; null for nobody.</summary>
    public AuditFile? Audit { get; init; }

    public Task<Outcome> Completion => _finished.Task;

    public void Waiting(string message) => observer.Waiting(message);

    public void Started(int workers, int servers)
    {
        var model = context.Model;
        observer.Started(new TrainingStarted(
            context.Job.Name, context.DataSummary,
            $"{model.Summary.Length} layers, {model.Layout.ElementCount:N0} parameters",
            workers, servers, context.Job.Batch.Shards, context.Job.Batch.Size, firstVersion, context.TotalSteps, context.StepsPerEpoch, _follows ? null : resumedFrom));
    }

    public void Committed(long version, SegmentStats stats)
    {
        Audit?.Committed(version, stats);
        long now = time.GetTimestamp();
        foreach ((int failure, long since) in _recovering)
        {
            _failures[failure] = _failures[failure] with { RecoveredMs = time.GetElapsedTime(since, now).TotalMilliseconds };
        }

        _recovering.Clear();
        if (!_gap) Time(time.GetElapsedTime(_lastCommit, now).TotalSeconds, stats.Examples);
        // Where steps don't wait for each other, those after an evaluation are under way together: the time is taken from its end.
        _gap = context.Job.Cluster.Consistency.IsSync && (version == context.TotalSteps || version % context.StepsPerEpoch == 0);
        _lastCommit = now;
        _examples += stats.Examples;
        if ((version - 1) % context.StepsPerEpoch == 0) _epoch = default;
        _epoch = SegmentStats.Join(_epoch, stats);
        _lastEpoch = _epoch;
        _stood.Add(new(version, _examples, _epoch, _lastEpoch));
        long left = context.TotalSteps - version;
        TimeSpan? timeLeft = _rate > 0 ? TimeSpan.FromSeconds(left * (double)context.Job.Batch.Size * context.MiniBatchesPerStep / _rate) : null;
        observer.Step(new StepReport(version, (int)((version - 1) / context.StepsPerEpoch), stats.MeanLoss, stats.Examples, _rate, timeLeft));
    }

    public void Evaluated(long version, SegmentStats stats)
    {
        (_test, _testVersion) = (stats, version);
        if (!context.Job.Cluster.Consistency.IsSync) _lastCommit = time.GetTimestamp();
        observer.Evaluated(new EvaluationReport(
            version, (int)((version + context.StepsPerEpoch - 1) / context.StepsPerEpoch),
            _lastEpoch.WeightSum > 0 ? _lastEpoch.MeanLoss : null, stats.MeanLoss, context.Model.HasAccuracy ? stats.Accuracy : null));
    }

    public void Watched(WatchReport report)
    {
        _watched = report;
        _noiseScale = report.NoiseScale ?? _noiseScale;
        observer.Watched(report);
        foreach (string warning in report.Warnings) observer.Warn(warning);
    }

    public void Saved(long version, string path)
    {
        // A checkpoint may be complete before its commit is heard of.
        while (_stood.Count > 1 && _stood[1].Version <= version) _stood.RemoveAt(0);
        observer.Saved(version, path);
    }

    public ReadOnlyMemory<byte> Figures => new RunFigures(_stood[0], _stood[^1], _test ?? default, _testVersion, _failures).ToBytes();

    public void Resumed(long version, ReadOnlyMemory<byte> figures)
    {
        Audit?.GoTo(version);
        if (RunFigures.Parse(figures) is not { } before) return;
        _stood.Clear();
        if (before.Saved.Version < version) _stood.Add(before.Saved);
        _stood.Add(before.Now with { Version = version });
        (_, _examples, _epoch, _lastEpoch) = before.Now;
        (_test, _testVersion) = (before.TestVersion > 0 ? before.Test : null, before.TestVersion);
        for (int i = 0; i < _failures.Count; i++) _failures[i] = _failures[i] with { Step = version };
        _failures.InsertRange(0, before.Failures);
        for (int i = 0; i < _recovering.Count; i++) _recovering[i] = (_recovering[i].Failure + before.Failures.Count, _recovering[i].Since);
        _gap = true;
    }

    /// <summary>The coordinator before this one, which ended.</summary>
    public void Succeeds(CoordinatorLoss loss)
    {
        _follows = true;
        _recovering.Add((_failures.Count, _began));
        _failures.Add(new Failure("coordinator", Environment.MachineName, loss.Pid, firstVersion, loss.Cause, null));
    }

    public void WentBack(long version)
    {
        Audit?.GoTo(version);
        int at = _stood.FindIndex(s => s.Version == version);
        if (at < 0) return;
        (_, _examples, _epoch, _lastEpoch) = _stood[at];
        _stood.RemoveRange(at + 1, _stood.Count - at - 1);
        _gap = true;
    }

    public void Joined(Member member)
    {
        _members.Add(member);
        observer.Membership($"{member} joined", trouble: false);
    }

    public void Lost(Member member, string cause, long version)
    {
        _recovering.Add((_failures.Count, time.GetTimestamp()));
        _failures.Add(new Failure($"{(member.Role == MemberRole.Worker ? "worker" : "server")} {member.Id}", member.Host, member.Pid, version, cause, null));
        observer.Membership($"{member} was lost at step {version}: {cause}", trouble: true);
    }

    /// <summary>What members recorded; empty where nothing was asked for.</summary>
    public IReadOnlyList<TraceTrack> Tracks { get; private set; } = [];

    /// <summary>Whose record is missing, in words; null for nobody's.</summary>
    public string? NotTraced
    {
        get
        {
            List<Member> missing = [.. _members.Where(m => Tracks.All(t => t.Member?.Id != m.Id))];
            return missing.Count == 0 ? null : $"the trace lacks {string.Join(", ", missing)}, which ended before it was asked";
        }
    }

    public void Traced(IReadOnlyList<TraceTrack> tracks) => Tracks = tracks;

    public void Noted(string message) => observer.Note(message);

    public void Warn(string message) => observer.Warn(message);

    public void Finished(Outcome outcome) => _finished.TrySetResult(outcome);

    public TrainResult Result(Outcome outcome, string? weightsSha256, string? checkpoint) => new()
    {
        Name = context.Job.Name,
        Steps = outcome.Version,
        Epochs = (double)outcome.Version / context.StepsPerEpoch,
        TrainExamples = context.Facts.TrainExamples,
        Examples = _examples,
        TrainLoss = Number(_lastEpoch.MeanLoss),
        BestStep = outcome.Best?.Version,
        TestLoss = outcome.Best is { } best ? Number(best.Loss) : _testVersion == outcome.Version && _test is { } test ? Number(test.MeanLoss) : null,
        TestAccuracy = Accuracy(outcome),
        WeightsSha256 = weightsSha256,
        GradientNorm = _watched is null ? null : Number(_watched.Norm),
        GradientNorms = _watched?.Tensors.ToDictionary(t => t.Name, t => Number(t.Norm)),
        GradientNoiseScale = _noiseScale is { } scale ? Number(scale) : null,
        AssistedShards = outcome.AssistedShards,
        VerifiedShards = outcome.VerifiedShards,
        UnequalShards = outcome.UnequalShards,
        StalenessMax = outcome.Staleness?.Max,
        StalenessMean = outcome.Staleness is { } staleness ? Number(staleness.Mean) : null,
        SamplesPerSecond = _times.IsEmpty ? null : Number(_steadyExamples / _times.Sum),
        StepMsMedian = _times.IsEmpty ? null : 1000 * (context.Job.Cluster.Consistency.IsSync ? _times.Median() : _times.Mean()),
        PushedBytesPerStep = PerStep(outcome.Traffic.Pushed, outcome),
        BroadcastBytesPerStep = PerStep(outcome.Traffic.Broadcast, outcome),
        WallSeconds = time.GetElapsedTime(_began).TotalSeconds,
        Workers = outcome.Workers,
        Servers = outcome.Partitions,
        Shards = context.Job.Batch.Shards,
        Channel = channel ?? Channels(),
        Failures = _failures,
        Split = StepSplit.Of(Tracks),
        BucketLength = outcome.BucketLength > 0 ? outcome.BucketLength : null,
        Checkpoint = checkpoint ?? resumedFrom,
        NumericsRevision = NumericsRevision.Current,
        ExitCode = (int)outcome.Exit,
        Error = outcome.Reason,
    };

    private void Time(double seconds, long examples)
    {
        double rate = examples / Math.Max(seconds, 1e-9);
        _rate = _rate == 0 ? rate : _rate + (0.05 * (rate - _rate));
        if (_examples / Math.Max(1, context.Job.Batch.Size * context.MiniBatchesPerStep) < WarmUpSteps) return;
        _times.Add(seconds);
        _steadyExamples += examples;
    }

    private double? Accuracy(Outcome outcome)
    {
        if (!context.Model.HasAccuracy) return null;
        return outcome.Best is { } best ? Number(best.Accuracy) : _testVersion == outcome.Version && _test is { } test ? Number(test.Accuracy) : null;
    }

    private double? PerStep(long bytes, Outcome outcome) =>
        outcome.Version > firstVersion ? (double)bytes / (outcome.Version - firstVersion) : null;

    private static double? Number(double value) => double.IsFinite(value) ? value : null;

    // Each worker shares memory with the servers of its host, and talks gRPC to the others.
    private string Channels()
    {
        bool shared = false, remote = false;
        foreach (Member worker in _members.Where(m => m.Role == MemberRole.Worker))
        {
            foreach (Member server in _members.Where(m => m.Role == MemberRole.Server))
            {
                if (context.SharesWithHost && worker.HostIdentity.Length > 0 && worker.HostIdentity == server.HostIdentity) shared = true;
                else remote = true;
            }
        }

        return !shared ? "grpc" : remote ? "shared-memory, grpc" : "shared-memory";
    }
}
