using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Kernels;
using DistTrain.Training.Coordinator;

namespace DistTrain.Training.Checkpoints;

/// <summary>
/// Collects the pieces that parameter servers send and, when all of a version are there, has it written. Gives out the
/// checkpoint that a job resumes from. Lives in the coordinator's process; thread-safe.
/// </summary>
public sealed class CheckpointKeeper : ICheckpointPort, ICheckpointKeeper, IDisposable
{
    private readonly ParameterLayout _layout;
    private readonly IReadOnlyList<string> _stateVectors;
    private readonly Func<ModelSnapshot, string?> _write;
    private readonly Action<long, string?> _written;
    private readonly Action<long, Exception> _failed;
    private readonly ModelSnapshot? _source;
    private ModelSnapshot? _given;
    private readonly Lock _lock = new();
    private readonly Dictionary<long, (long Term, byte[] Record)> _expected = [];
    private readonly Dictionary<(long Version, long Term), Collected> _open = [];
    private Task _writing = Task.CompletedTask;

    /// <summary>Creates a keeper.</summary>
    /// <param name="layout">The model's tensors.</param>
    /// <param name="stateVectors">The optimizer's vectors.</param>
    /// <param name="source">What the job resumes from; null for a new start. Disposed with the keeper.</param>
    /// <param name="write">Writes a snapshot and returns its path, or null when it is only kept in memory. Called one at a time.</param>
    /// <param name="written">Told when a version is complete.</param>
    /// <param name="failed">Told when a version could not be written.</param>
    /// <param name="best">The best evaluated version of the run that the job resumes. Disposed with the keeper.</param>
    public CheckpointKeeper(
        ParameterLayout layout, IReadOnlyList<string> stateVectors, ModelSnapshot? source,
        Func<ModelSnapshot, string?> write, Action<long, string?> written, Action<long, Exception> failed,
        (ModelSnapshot Model, string Path)? best = null)
    {
        (Best, BestPath) = (best?.Model, best?.Path);
        (_layout, _stateVectors, _source, _write, _written, _failed) = (layout, stateVectors, source, write, written, failed);
        _given = source;
    }

    /// <summary>The newest complete version; null before the first. Disposed with the keeper.</summary>
    public ModelSnapshot? Last { get; private set; }

    /// <summary>Where the newest version was written; null for nowhere.</summary>
    public string? LastPath { get; private set; }

    /// <summary>The best evaluated version, where training looks for one. Disposed with the keeper.</summary>
    public ModelSnapshot? Best { get; private set; }

    /// <summary>Where it was written; null for nowhere.</summary>
    public string? BestPath { get; private set; }

    /// <inheritdoc/>
    public async Task SaveAsync(IAsyncEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)> pieces, CancellationToken cancellation)
    {
        await foreach ((CheckpointPieceHeader header, NativeSpan payload) in pieces.WithCancellation(cancellation))
        {
            payload.Span.CopyTo(Begin(header, payload.Length).Span);
            Complete(header, payload.Length);
        }
    }

    /// <summary>Pieces of this version are welcome from now on, until it is complete. Nothing else is taken.</summary>
    /// <param name="term">The coordinator's term.</param>
    /// <param name="version">The version.</param>
    /// <param name="record">The coordinator's own state as of that version.</param>
    public void Expect(long term, long version, byte[] record)
    {
        lock (_lock) _expected[version] = (term, record);
    }

    /// <summary>
    /// Forgets what is expected and incomplete, and gives out the newest complete version from now on; with no version there is, servers
    /// begin with the seed's weights.
    /// </summary>
    /// <returns>Its version, 0 for none, and the coordinator's own state as of it.</returns>
    public (long Version, ReadOnlyMemory<byte> Record) GoBack()
    {
        lock (_lock)
        {
            _expected.Clear();
            foreach (((long, long) key, Collected collected) in _open.ToList())
            {
                collected.Forgotten = true;
                if (collected.InFlight == 0) Forget(key, collected);
            }

            ModelSnapshot? before = _given;
            _given = Last ?? _source;
            DisposeUnneeded(before);
            return (_given?.Version ?? 0, _given?.Record ?? default);
        }
    }

    /// <inheritdoc/>
    public unsafe NativeSpan Begin(CheckpointPieceHeader header, int length)
    {
        lock (_lock)
        {
            if (!_expected.TryGetValue(header.Version, out (long Term, byte[] Record) expected) || header.Term != expected.Term) throw Misplaced(header, length, "no such checkpoint was asked for");
            if (header.Offset < 0 || length < 0 || header.Offset > _layout.Length - length) throw Misplaced(header, length, $"the model has {_layout.Length} elements");
            if (header.Vector != ModelSnapshot.Weights && !_stateVectors.Contains(header.Vector)) throw Misplaced(header, length, "no such vector");
            if (!_open.TryGetValue((header.Version, header.Term), out Collected? collected))
            {
                _open[(header.Version, header.Term)] = collected = new Collected(new ModelSnapshot(_layout, _stateVectors, header.Version) { Record = expected.Record });
            }

            collected.InFlight++;
            return new NativeSpan((nint)(collected.Snapshot.Find(header.Vector)!.Pointer + header.Offset), length);
        }
    }

    /// <inheritdoc/>
    public void Complete(CheckpointPieceHeader header, int length) => End(header, length, arrived: true);

    /// <inheritdoc/>
    public void Abort(CheckpointPieceHeader header) => End(header, 0, arrived: false);

    /// <inheritdoc/>
    public unsafe Task LoadAsync(long term, long version, long offset, long length, Func<CheckpointPieceHeader, int, NativeSpan> place, CancellationToken cancellation)
    {
        foreach ((CheckpointPieceHeader header, NativeSpan payload) in Pieces(term, version, offset, length))
        {
            payload.Span.CopyTo(place(header, payload.Length).Span);
        }

        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public IEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)> Pieces(long term, long version, long offset, long length)
    {
        ModelSnapshot? source;
        lock (_lock) source = _given;
        if (source is null || source.Version != version) throw new DistTrainException(ExitCode.BadData, $"there is no checkpoint at step {version} to go on from");
        if (offset < 0 || length < 0 || offset > _layout.Length - length) throw new DistTrainException(ExitCode.BadData, $"[{offset}, +{length}) is outside the model of {_layout.Length} elements");
        foreach (string vector in source.VectorNames)
        {
            for (long at = offset; at < offset + length; at += BucketPlan.DefaultBucketLength)
            {
                int count = (int)Math.Min(BucketPlan.DefaultBucketLength, offset + length - at);
                yield return (new(term, version, -1, vector, at), Range(source.Find(vector)!, at, count));
            }
        }
    }

    /// <summary>Waits until nothing is being written any more.</summary>
    public Task FlushAsync()
    {
        lock (_lock) return _writing;
    }

    /// <summary>Frees all snapshots. Call <see cref="FlushAsync"/> first. What a piece is still being written to stays.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _expected.Clear();
            foreach (Collected collected in _open.Values.Where(c => c.InFlight == 0)) collected.Snapshot.Dispose();
        }

        foreach (ModelSnapshot? snapshot in new HashSet<ModelSnapshot?> { Best, Last, _given, _source }) snapshot?.Dispose();
    }

    private static unsafe NativeSpan Range(NativeBuffer vector, long offset, int length) => new((nint)(vector.Pointer + offset), length);

    private static DistTrainException Misplaced(CheckpointPieceHeader header, int length, string why) =>
        new(ExitCode.BadData, $"a checkpoint piece '{header.Vector}' [{header.Offset}, +{length}) of step {header.Version} is refused: {why}");

    // A snapshot is complete when every element has arrived and nobody writes to it any more: repeats may overlap.
    private void End(CheckpointPieceHeader header, int length, bool arrived)
    {
        lock (_lock)
        {
            if (!_open.TryGetValue((header.Version, header.Term), out Collected? collected)) return;
            collected.InFlight--;
            if (arrived) collected.Mark(header.Vector, header.Offset, length);
            if (collected.InFlight > 0) return;
            if (collected.Forgotten) Forget((header.Version, header.Term), collected);
            if (collected.Forgotten || !collected.Complete) return;
            _open.Remove((header.Version, header.Term));
            _expected.Remove(header.Version);
            _writing = _writing.ContinueWith(_ => Write(collected.Snapshot), TaskScheduler.Default);
        }
    }

    private void Forget((long, long) key, Collected collected)
    {
        _open.Remove(key);
        collected.Snapshot.Dispose();
    }

    private void Write(ModelSnapshot snapshot)
    {
        try
        {
            if (snapshot.FirstNotFinite() is { } tensor)
            {
                throw new DistTrainException(ExitCode.Diverged, $"training diverged: {tensor} has a NaN or an infinity at step {snapshot.Version}; try a lower learning rate");
            }

            string? path = _write(snapshot);
            Replace(snapshot, path);
            _written(snapshot.Version, path);
        }
        catch (Exception e)
        {
            if (Last != snapshot && Best != snapshot) snapshot.Dispose();
            _failed(snapshot.Version, e);
        }
    }

    private void Replace(ModelSnapshot snapshot, string? path)
    {
        using Lock.Scope scope = _lock.EnterScope();
        (ModelSnapshot? last, ModelSnapshot? best) = (Last, Best);
        // Checkpoints of two versions may become complete in either order.
        if (snapshot.Version >= (last?.Version ?? 0)) (Last, LastPath) = (snapshot, path);
        bool isBest = EvaluationRecord.Parse(snapshot.Record).Best?.Version == snapshot.Version && snapshot.Version >= (best?.Version ?? 0);
        if (isBest) (Best, BestPath) = (snapshot, path);
        foreach (ModelSnapshot? replaced in new HashSet<ModelSnapshot?> { last, best, snapshot }) DisposeUnneeded(replaced);
    }

    private void DisposeUnneeded(ModelSnapshot? snapshot)
    {
        if (snapshot != Last && snapshot != Best && snapshot != _given && snapshot != _source) snapshot?.Dispose();
    }

    private sealed class Collected(ModelSnapshot snapshot)
    {
        private readonly WrittenRanges[] _written = [.. snapshot.VectorNames.Select(_ => new WrittenRanges())];

        public ModelSnapshot Snapshot { get; } = snapshot;

        public int InFlight { get; set; }

        public bool Forgotten { get; set; }

        public bool Complete => Array.TrueForAll(_written, w => w.FirstMissing(Snapshot.Layout.Length) is null);

        public void Mark(string vector, long offset, int length) =>
            _written[Snapshot.VectorNames.ToList().IndexOf(vector)].Add(offset, offset + length);
    }
}
