using DistTrain.Core;
using DistTrain.Core.Layout;

namespace DistTrain.Training.Checkpoints;

/// <summary>
/// A checkpoint under construction: it becomes one when <see cref="Complete"/> returns, and leaves nothing behind when it
/// is disposed before. Pieces may arrive in any order and from several threads at once.
/// </summary>
public sealed class CheckpointDraft : IDisposable
{
    private readonly CheckpointStore _store;
    private readonly ICheckpointFiles _files;
    private readonly string _temporary;
    private readonly long _version;
    private readonly ParameterLayout _layout;
    private readonly IReadOnlyList<string> _stateVectors;
    private readonly DateTimeOffset _created;
    private readonly SafetensorsWriter? _model;
    private readonly SafetensorsWriter? _optimizer;
    private bool _ended;

    internal CheckpointDraft(CheckpointStore store, ICheckpointFiles files, string temporary, long version, ParameterLayout layout, IReadOnlyList<string> stateVectors, DateTimeOffset created)
    {
        _store = store;
        _files = files;
        _temporary = temporary;
        _version = version;
        _layout = layout;
        _stateVectors = stateVectors;
        _created = created;
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal) { ["format"] = "pt", ["producer"] = "disttrain" };
        try
        {
            files.CreateDirectory(temporary);
            _model = new SafetensorsWriter(files, Path.Combine(temporary, CheckpointNames.Model), CheckpointNames.ModelTensors(layout), metadata);
            _optimizer = new SafetensorsWriter(files, Path.Combine(temporary, CheckpointNames.Optimizer), CheckpointNames.OptimizerTensors(layout, stateVectors), metadata);
        }
        catch (Exception e) when (StorageError.IsStorage(e))
        {
            DistTrainException error = Translate(e);
            Dispose();
            throw error;
        }
    }

    /// <summary>Bytes of its tensors; headers and the manifest take a few thousand more.</summary>
    public long Bytes => checked(_layout.ElementCount * sizeof(float) * (1 + _stateVectors.Count));

    /// <summary>
    /// Writes elements [<paramref name="offset"/>, offset + values.Length) of a flat vector: <c>weights</c>, or one of the
    /// state vectors named at the beginning. What falls on padding between tensors is left out.
    /// </summary>
    /// <exception cref="DistTrainException">BadData: the disk is full, or doesn't take it.</exception>
    public void Write(string vector, long offset, ReadOnlySpan<float> values)
    {
        bool weights = vector == CheckpointNames.Weights;
        int number = weights ? 0 : IndexOf(vector);
        SafetensorsWriter file = weights ? _model! : _optimizer!;
        try
        {
            foreach (FlatPart part in FlatRange.Parts(_layout, offset, values.Length))
            {
                file.Write(number * _layout.Tensors.Length + part.Tensor, part.First, values.Slice(part.At, part.Length));
            }
        }
        catch (Exception e) when (StorageError.IsStorage(e))
        {
            throw Translate(e);
        }
    }

    /// <summary>
    /// Flushes both files, writes the manifest, gives the checkpoint its name, and then removes those beyond the ones to
    /// be kept. <paramref name="manifest"/> says what it is of; tensors, files and time are filled in here.
    /// </summary>
    /// <param name="manifest">What it is of.</param>
    /// <param name="pinned">A version whose checkpoint stays beyond the ones to be kept; null for none.</param>
    /// <returns>The checkpoint's directory.</returns>
    /// <exception cref="DistTrainException">Internal: pieces are missing. BadData: the disk is full, or doesn't take it.</exception>
    public string Complete(CheckpointManifest manifest, long? pinned = null)
    {
        if (manifest.Version != _version) throw new ArgumentException($"a manifest of version {manifest.Version} for the checkpoint of version {_version}", nameof(manifest));
        try
        {
            FileDigest model = _model!.Finish();
            FileDigest optimizer = _optimizer!.Finish();
            CheckpointManifest complete = manifest with
            {
                Format = CheckpointManifest.CurrentFormat,
                Created = _created,
                StateVectors = [.. _stateVectors],
                Tensors = [.. _layout.Tensors.Select(t => new ManifestTensor(t.Name, t.Shape, t.Role))],
                Files =
                [
                    new ManifestFile(CheckpointNames.Model, model.Bytes, model.Sha256),
                    new ManifestFile(CheckpointNames.Optimizer, optimizer.Bytes, optimizer.Sha256),
                ],
            };
            using (IWritableFile file = _files.Create(Path.Combine(_temporary, CheckpointNames.Manifest)))
            {
                file.Write(0, complete.ToBytes());
                file.Flush();
            }

            _files.SyncDirectory(_temporary);
            string path = _store.Publish(_temporary, complete, pinned);
            _ended = true;
            return path;
        }
        catch (Exception e) when (StorageError.IsStorage(e))
        {
            DistTrainException error = Translate(e);
            Dispose();
            throw error;
        }
    }

    /// <summary>Removes it, unless it was completed.</summary>
    public void Dispose()
    {
        _model?.Dispose();
        _optimizer?.Dispose();
        if (_ended) return;
        _ended = true;
        try
        {
            _files.DeleteDirectory(_temporary);
        }
        catch (Exception e) when (StorageError.IsStorage(e))
        {
            // Cleaned up with the next checkpoint.
        }
    }

    private int IndexOf(string vector)
    {
        for (int i = 0; i < _stateVectors.Count; i++)
        {
            if (_stateVectors[i] == vector) return i;
        }

        throw new ArgumentException($"'{vector}' is neither '{CheckpointNames.Weights}' nor a state vector", nameof(vector));
    }

    // Asks for the free room, so call it before what was written is removed.
    private DistTrainException Translate(Exception e) =>
        StorageError.Writing(Path.Combine(_store.Directory, CheckpointStore.NameOf(_version)), Bytes, _files.FreeBytes(_store.Directory), e);
}
