using DistTrain.Core;
using DistTrain.Kernels;
using DistTrain.Training.Checkpoints;
using DistTrain.Training.Coordinator;

namespace DistTrain.Composition;

/// <summary>The run's directory: what a job resumes from and where it saves.</summary>
internal sealed class RunFiles
{
    private readonly JobContext _context;
    private readonly CheckpointStore? _store;
    private readonly ITrainingObserver _observer;
    private bool _saved;

    private RunFiles(JobContext context, CheckpointStore? store, ITrainingObserver observer) => (_context, _store, _observer) = (context, store, observer);

    /// <summary>What the job resumes from; null for a new start.</summary>
    public ModelSnapshot? Resume { get; private init; }

    /// <summary>Its directory.</summary>
    public string? ResumedFrom { get; private init; }

    /// <summary>The best evaluated version of the run that is resumed, and its directory; null for none.</summary>
    public (ModelSnapshot Model, string Path)? Best { get; private init; }

    /// <summary>What followed from the evaluations of the run that is resumed.</summary>
    public EvaluationRecord Evaluations { get; private init; } = EvaluationRecord.Empty;

    /// <summary>The version to begin with.</summary>
    public long FirstVersion => Resume?.Version ?? 0;

    /// <summary>Opens the run's directory. With <paramref name="resume"/>, reads and verifies the newest good checkpoint,
    /// which must be of this job, this data and these kernels; likewise with <paramref name="since"/>, where there is one no older than that.</summary>
    public static RunFiles Open(JobContext context, bool resume, bool save, ITrainingObserver observer, DateTimeOffset? since = null)
    {
        CheckpointStore? store = save ? new CheckpointStore(context.Job.RunDirectory, context.Job.Checkpoint.Keep, TimeProvider.System, observer.Warn) : null;
        if (store is not null) ProbeDirectory(store.Directory);
        if (since is { } begin && !resume)
        {
            using LoadedCheckpoint? latest = store?.Latest();
            resume = latest is not null && latest.Manifest.JobHash == context.Job.Hash && latest.Manifest.Created >= begin;
        }

        if (!resume) return new RunFiles(context, store, observer);
        using LoadedCheckpoint checkpoint = store?.Latest()
            ?? throw new DistTrainException(ExitCode.BadData, $"there is no checkpoint to resume from in {context.Job.RunDirectory}");
        Check(context, checkpoint, observer);
        EvaluationRecord record = EvaluationRecord.Parse(checkpoint.Manifest.CoordinatorRecord);
        (ModelSnapshot, string)? best = context.Job.Training.EarlyStopping is null ? null : ReadBest(context, store, checkpoint, record);
        if (best is null) record = record with { Best = null, Since = 0 };
        return new RunFiles(context, store, observer) { Resume = Read(context, checkpoint, record), ResumedFrom = checkpoint.Path, Best = best, Evaluations = record };
    }

    // Without the best version's weights another one must become the best.
    private static (ModelSnapshot Model, string Path)? ReadBest(JobContext context, CheckpointStore store, LoadedCheckpoint latest, EvaluationRecord record)
    {
        if (record.Best is null) return null;
        if (record.Best.Version == latest.Manifest.Version) return (Read(context, latest, record), latest.Path);
        using LoadedCheckpoint? best = store.BestOf(latest);
        return best is null ? null : (Read(context, best, EvaluationRecord.Parse(best.Manifest.CoordinatorRecord)), best.Path);
    }

    private static ModelSnapshot Read(JobContext context, LoadedCheckpoint checkpoint, EvaluationRecord record)
    {
        var snapshot = new ModelSnapshot(context.Model.Layout, context.Job.StateVectors, checkpoint.Manifest.Version) { Record = record.ToBytes() };
        foreach (string vector in snapshot.VectorNames) checkpoint.Read(vector, 0, snapshot.Find(vector)!.Span);
        return snapshot;
    }

    /// <summary>Writes a checkpoint and returns its directory; null when the run keeps its weights in memory only.</summary>
    public string? Save(ModelSnapshot snapshot)
    {
        if (_store is null) return null;
        // A job that resumes at its end finds its last checkpoint there already.
        if (snapshot.Version == FirstVersion && ResumedFrom is not null) return ResumedFrom;
        if (!_saved && ResumedFrom is null) MoveEarlierRunAside(_store);
        _saved = true;
        using CheckpointDraft draft = _store.Begin(snapshot.Version, snapshot.Layout, _context.Job.StateVectors);
        foreach (string vector in snapshot.VectorNames) draft.Write(vector, 0, snapshot.Find(vector)!.Span);
        return draft.Complete(Manifest(snapshot), pinned: EvaluationRecord.Parse(snapshot.Record).Best?.Version);
    }

    // Better before the first step than after the last.
    private static void ProbeDirectory(string directory)
    {
        try
        {
            bool isNew = !Directory.Exists(directory);
            Directory.CreateDirectory(directory);
            string probe = Path.Combine(directory, $".probe-{Guid.NewGuid():N}");
            File.WriteAllBytes(probe, [0]);
            File.Delete(probe);
            if (isNew) Directory.Delete(directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DistTrainException(ExitCode.BadData, $"checkpoint.path {directory} can't be written to: {e.Message}", e);
        }
    }

    // A new run begins in an empty directory; what an earlier one left there stays, beside it.
    private void MoveEarlierRunAside(CheckpointStore store)
    {
        if (store.Checkpoints().Count == 0) return;
        string directory = Path.TrimEndingDirectorySeparator(store.Directory);
        int n = 1;
        while (Path.Exists($"{directory}.old-{n}")) n++;
        try
        {
            Directory.Move(directory, $"{directory}.old-{n}");
        }
        catch (IOException e)
        {
            throw new DistTrainException(ExitCode.BadData, $"{directory} holds an earlier run, and can't be moved to {directory}.old-{n}: {e.Message}", e);
        }

        _observer.Warn($"{directory} held an earlier run: it is now {directory}.old-{n}");
    }

    private static void Check(JobContext context, LoadedCheckpoint checkpoint, ITrainingObserver observer)
    {
        CheckpointManifest manifest = checkpoint.Manifest;
        if (manifest.Version > context.TotalSteps)
        {
            throw new DistTrainException(ExitCode.BadUsage, $"checkpoint {checkpoint.Path} is at step {manifest.Version}, and the job ends at step {context.TotalSteps}: nothing is left to train; raise training.epochs or training.max_steps");
        }

        ModelComparison.RequireSameModel(checkpoint.Path, manifest, context.Model.Layout.Tensors.Select(t => (t.Name, t.Shape)));
        if (manifest.JobHash != context.Job.Hash)
        {
            throw new DistTrainException(ExitCode.BadData, $"checkpoint {checkpoint.Path} is of another job (hash {manifest.JobHash[..12]}…, this one {context.Job.Hash[..12]}…): seed, data, model, loss, optimizer, schedule, batch, training, consistency or wire differ");
        }

        if (manifest.DataHash != context.DataHash)
        {
            throw new DistTrainException(ExitCode.BadData, $"checkpoint {checkpoint.Path} was trained on other data (hash {manifest.DataHash[..12]}…, here {context.DataHash[..12]}…)");
        }

        if (manifest.NumericsRevision != NumericsRevision.Current)
        {
            observer.Warn($"checkpoint {checkpoint.Path} is of numerics revision {manifest.NumericsRevision}, this build's is {NumericsRevision.Current}: the bits may differ from an unbroken run's");
        }
    }

    private CheckpointManifest Manifest(ModelSnapshot snapshot) => new()
    {
        JobName = _context.Job.Name,
        JobHash = _context.Job.Hash,
        DataHash = _context.DataHash,
        NumericsRevision = NumericsRevision.Current,
        Seed = _context.Job.Seed,
        Version = snapshot.Version,
        Epoch = snapshot.Version / _context.StepsPerEpoch,
        EpochPosition = snapshot.Version % _context.StepsPerEpoch * _context.MiniBatchesPerStep * _context.Job.Batch.Size,
        Optimizer = _context.Job.Optimizer.Name,
        CoordinatorRecord = snapshot.Record.ToArray(),
        Job = _context.Job.Arrays is null ? _context.Job.ToYaml() : "",
    };
}
