using System.Globalization;
using DistTrain.Core;
using DistTrain.Core.Layout;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Checkpoints;

/// <summary>
/// A job's directory of checkpoints (<c>checkpoint.path</c>): one directory each, <c>step-00000500</c>, with
/// <c>model.safetensors</c>, <c>optimizer.safetensors</c> and <c>manifest.json</c>. A checkpoint is written under a
/// temporary name, flushed file by file, its manifest last, and renamed: whatever stops it on the way, and at whatever
/// byte, a checkpoint is complete and verified, or does not exist. Not thread-safe but for
/// <see cref="CheckpointDraft.Write"/>; one process at a time may write.
/// </summary>
public sealed class CheckpointStore
{
    private const string Prefix = "step-";
    private const string TemporaryPrefix = ".writing-";
    private const string DiscardPrefix = ".discarded-";

    private readonly ICheckpointFiles _files;
    private readonly TimeProvider _time;
    private readonly Action<string> _warn;
    private readonly int _keep;
    private bool _cleaned;

    /// <summary>Opens the store; nothing is created before the first checkpoint.</summary>
    /// <param name="directory"><c>checkpoint.path</c>.</param>
    /// <param name="keep">How many checkpoints stay, at least 1.</param>
    /// <param name="time">For the time that manifests give.</param>
    /// <param name="warn">Takes what the user should know: a damaged checkpoint passed over, an old one that stays.</param>
    public CheckpointStore(string directory, int keep, TimeProvider time, Action<string> warn)
        : this(directory, keep, time, warn, DiskFiles.Instance)
    {
    }

    internal CheckpointStore(string directory, int keep, TimeProvider time, Action<string> warn, ICheckpointFiles files)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(keep, 1);
        Directory = directory;
        _keep = keep;
        _time = time;
        _warn = warn;
        _files = files;
    }

    /// <summary>The directory that holds the checkpoints.</summary>
    public string Directory { get; }

    /// <summary>The directory name of a model version's checkpoint.</summary>
    public static string NameOf(long version) => Prefix + version.ToString("D8", CultureInfo.InvariantCulture);

    /// <summary>Begins the checkpoint of a model version.</summary>
    /// <param name="version">The model version.</param>
    /// <param name="layout">The model's tensors.</param>
    /// <param name="stateVectors">The optimizer's state vectors, such as <c>momentum</c>; may be empty.</param>
    /// <exception cref="DistTrainException">BadData: the disk is full, or the directory can't be written to.</exception>
    public CheckpointDraft Begin(long version, ParameterLayout layout, IReadOnlyList<string> stateVectors)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(version);
        if (stateVectors.Append(CheckpointNames.Weights).Distinct(StringComparer.Ordinal).Count() <= stateVectors.Count) throw new ArgumentException("two vectors of the same name", nameof(stateVectors));
        if (!_cleaned) CleanLeftovers();
        _cleaned = true;
        string temporary = Path.Combine(Directory, $"{TemporaryPrefix}{NameOf(version)}-{Unique()}");
        return new CheckpointDraft(this, _files, temporary, version, layout, stateVectors, _time.GetUtcNow());
    }

    /// <summary>
    /// The newest complete and verified checkpoint, or null; a damaged one is passed over with a warning that says what
    /// is wrong with it. The caller disposes it.
    /// </summary>
    public LoadedCheckpoint? Latest()
    {
        foreach ((long _, string path) in Checkpoints().Reverse())
        {
            try
            {
                return LoadedCheckpoint.Open(path);
            }
            catch (DistTrainException e) when (e.ExitCode == ExitCode.BadData)
            {
                _warn($"checkpoint passed over: {e.Message}");
            }
        }

        return null;
    }

    /// <summary>Opens and verifies one checkpoint by its directory. The caller disposes it.</summary>
    /// <exception cref="DistTrainException">BadData: missing, incomplete or damaged, naming the file and both hashes.</exception>
    public static LoadedCheckpoint Load(string path) => LoadedCheckpoint.Open(path);

    /// <summary>Opens the checkpoint at <paramref name="path"/>, or where that is a store's directory, its result: the newest good
    /// one, or the best one that the newest knows of, where training looked for it.</summary>
    /// <exception cref="DistTrainException">BadData: there is none, or it is damaged.</exception>
    public static LoadedCheckpoint Find(string path, Action<string> warn)
    {
        var store = new CheckpointStore(path, 1, TimeProvider.System, warn);
        bool isStore = !File.Exists(Path.Combine(path, CheckpointNames.Manifest)) && store.Checkpoints().Count > 0;
        if (!isStore) return Load(path);
        LoadedCheckpoint latest = store.Latest() ?? throw new DistTrainException(ExitCode.BadData, $"{path}: none of its {store.Checkpoints().Count} checkpoints is whole");
        if (store.BestOf(latest) is not { } best) return latest;
        latest.Dispose();
        return best;
    }

    /// <summary>
    /// The checkpoint of the best evaluated version that another one knows of, which the caller disposes; null when there is
    /// none, or it is that one itself. One that is damaged or missing is passed over with a warning.
    /// </summary>
    public LoadedCheckpoint? BestOf(LoadedCheckpoint latest)
    {
        try
        {
            if (EvaluationRecord.Parse(latest.Manifest.CoordinatorRecord).Best is not { } best || best.Version == latest.Manifest.Version) return null;
            LoadedCheckpoint found = LoadedCheckpoint.Open(Path.Combine(Directory, NameOf(best.Version)));
            if (found.Manifest.JobHash == latest.Manifest.JobHash) return found;
            _warn($"the best version's checkpoint is passed over: {found.Path} is of another job");
            found.Dispose();
        }
        catch (DistTrainException e) when (e.ExitCode == ExitCode.BadData)
        {
            _warn($"the best version's checkpoint is passed over: {e.Message}");
        }

        return null;
    }

    /// <summary>The checkpoints by name, oldest first, whether whole or not.</summary>
    public IReadOnlyList<(long Version, string Path)> Checkpoints()
    {
        if (!System.IO.Directory.Exists(Directory)) return [];
        try
        {
            return
            [
                .. System.IO.Directory.EnumerateDirectories(Directory, Prefix + "*")
                    .Select(path => (Version: VersionOf(Path.GetFileName(path)), Path: path))
                    .Where(c => c.Version >= 0)
                    .OrderBy(c => c.Version),
            ];
        }
        catch (Exception e) when (StorageError.IsStorage(e))
        {
            throw StorageError.Reading(Directory, e);
        }
    }

    /// <summary>Gives a complete temporary directory its name, and removes what is no longer to be kept.</summary>
    internal string Publish(string temporary, CheckpointManifest manifest, long? pinned)
    {
        string path = Path.Combine(Directory, NameOf(manifest.Version));
        if (System.IO.Directory.Exists(path))
        {
            if (IsSame(path, manifest))
            {
                // The same version again, after a resume: the one that stands has the same bits.
                Discard(temporary);
                return path;
            }

            Discard(path);
        }

        _files.Rename(temporary, path);
        _files.SyncDirectory(Directory);
        // Later versions are not of this run's past: they are left alone.
        (long Version, string Path)[] earlier = [.. Checkpoints().Where(c => c.Version < manifest.Version && c.Version != pinned)];
        foreach ((long _, string old) in earlier.Take(Math.Max(0, earlier.Length - (_keep - 1)))) TryDiscard(old);
        return path;
    }

    private static bool IsSame(string path, CheckpointManifest manifest)
    {
        try
        {
            using LoadedCheckpoint standing = LoadedCheckpoint.Open(path);
            return standing.Manifest.JobHash == manifest.JobHash && standing.Manifest.Files.SequenceEqual(manifest.Files)
                && standing.Manifest.CoordinatorRecord.AsSpan().SequenceEqual(manifest.CoordinatorRecord);
        }
        catch (DistTrainException)
        {
            return false;
        }
    }

    private void TryDiscard(string path)
    {
        try
        {
            Discard(path);
        }
        catch (Exception e) when (StorageError.IsStorage(e))
        {
            _warn($"{path}: an old checkpoint that can't be removed: {e.Message}");
        }
    }

    // Renamed first, so that no half of it ever bears a checkpoint's name.
    private void Discard(string path)
    {
        string discarded = Path.Combine(Directory, $"{DiscardPrefix}{Path.GetFileName(path)}-{Unique()}");
        _files.Rename(path, discarded);
        _files.DeleteDirectory(discarded);
    }

    private void CleanLeftovers()
    {
        if (!System.IO.Directory.Exists(Directory)) return;
        foreach (string prefix in (string[])[TemporaryPrefix, DiscardPrefix])
        {
            foreach (string path in System.IO.Directory.EnumerateDirectories(Directory, prefix + "*"))
            {
                try
                {
                    _files.DeleteDirectory(path);
                }
                catch (Exception e) when (StorageError.IsStorage(e))
                {
                    _warn($"{path}: the rest of an unfinished checkpoint that can't be removed: {e.Message}");
                }
            }
        }
    }

    private static long VersionOf(string name) =>
        name.Length >= Prefix.Length + 8 && long.TryParse(name.AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out long version) ? version : -1;

    private static string Unique() => Guid.NewGuid().ToString("N")[..12];
}
