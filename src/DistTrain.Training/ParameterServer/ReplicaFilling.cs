using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;
using DistTrain.Kernels;
using DistTrain.Training.Checkpoints;

namespace DistTrain.Training.ParameterServer;

/// <summary>
/// A second copy in the making: takes the partition as it stood at <see cref="OwnPartition.CopyAt"/> from the first one, while training goes on.
/// Thread-safe; the partition is nobody else's until it is whole.
/// </summary>
/// <param name="state">Where it goes.</param>
/// <param name="own">Which partition, and as of when.</param>
/// <param name="whole">Told once that all of it is there.</param>
internal sealed class ReplicaFilling(PartitionState state, OwnPartition own, Action<ReplicaFilling> whole) : ICheckpointKeeper
{
    private readonly Lock _lock = new();
    private readonly HashSet<string> _vectors = [.. state.VectorNames];
    private readonly Dictionary<string, WrittenRanges> _missing = state.VectorNames.ToDictionary(v => v, _ => new WrittenRanges());

    private NativeBuffer? _elsewhere;

    public PartitionState State => state;

    /// <summary>What it is to be, once whole.</summary>
    public OwnPartition Own => own;

    /// <summary>What was decided of steps that it has yet to follow.</summary>
    public List<NormsDecided> Norms { get; } = [];

    /// <inheritdoc/>
    public NativeSpan Begin(CheckpointPieceHeader header, int length)
    {
        if (header.Term != own.Term || header.Version != own.CopyAt) throw Refused(header, length, $"a copy of step {own.CopyAt} under term {own.Term} is expected");
        if (!_vectors.Contains(header.Vector) || header.Offset < state.Partition.Offset || length < 0 || header.Offset > state.Partition.End - length) throw Refused(header, length, $"it is outside partition {own.Partition}");
        lock (_lock)
        {
            // A piece that comes again must not overwrite what steps may have changed since.
            return _missing.ContainsKey(header.Vector) ? state.Vector(header.Vector, own.CopyAt, header.Offset, length) : Elsewhere(length);
        }
    }

    /// <inheritdoc/>
    public void Complete(CheckpointPieceHeader header, int length)
    {
        lock (_lock)
        {
            if (!_missing.TryGetValue(header.Vector, out WrittenRanges? ranges)) return;
            long start = header.Offset - state.Partition.Offset;
            ranges.Add(start, start + length);
            if (ranges.FirstMissing(state.Partition.Length) is not null) return;
            _missing.Remove(header.Vector);
            if (_missing.Count == 0) whole(this);
        }
    }

    /// <inheritdoc/>
    public void Abort(CheckpointPieceHeader header)
    {
    }

    /// <inheritdoc/>
    public IEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)> Pieces(long term, long version, long offset, long length) =>
        throw new DistTrainException(ExitCode.ClusterLost, "a second copy in the making has nothing to give");

    private unsafe NativeSpan Elsewhere(int length)
    {
        _elsewhere ??= new NativeBuffer(state.Partition.Length);
        return new((nint)_elsewhere.Pointer, length);
    }

    private static DistTrainException Refused(CheckpointPieceHeader header, int length, string why) =>
        new(ExitCode.BadUsage, $"a piece '{header.Vector}' [{header.Offset}, +{length}) of step {header.Version} under term {header.Term} is refused: {why}");
}
