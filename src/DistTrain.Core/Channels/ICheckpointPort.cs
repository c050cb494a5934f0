namespace DistTrain.Core.Channels;

/// <summary>A part of a checkpoint: a range of one of the partition's vectors.</summary>
/// <param name="Term">The term under which it is saved.</param>
/// <param name="Version">The model version of the cut.</param>
/// <param name="Partition">The partition that it comes from.</param>
/// <param name="Vector"><c>weights</c>, or the optimizer's name for one of its state vectors, such as <c>momentum</c>.</param>
/// <param name="Offset">The first element, in the flat parameter vector.</param>
public sealed record CheckpointPieceHeader(long Term, long Version, int Partition, string Vector, long Offset);

/// <summary>
/// Where checkpoint pieces go to and come from: the coordinator's process. Pieces of one version go to one place.
/// </summary>
public interface ICheckpointPort
{
    /// <summary>
    /// Stores the pieces of one partition; completes when all were taken. The payload of a piece may be reused when
    /// the enumerator is asked for the next one.
    /// </summary>
    Task SaveAsync(IAsyncEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)> pieces, CancellationToken cancellation);

    /// <summary>
    /// Reads one partition of the checkpoint that the job resumes from into places that <paramref name="place"/> names
    /// by header and length.
    /// </summary>
    Task LoadAsync(long term, long version, long offset, long length, Func<CheckpointPieceHeader, int, NativeSpan> place, CancellationToken cancellation);
}

/// <summary>The far side of <see cref="ICheckpointPort"/>: what collects and gives out pieces. Thread-safe.</summary>
public interface ICheckpointKeeper
{
    /// <summary>The place for a piece of <paramref name="length"/> elements. Throws <see cref="DistTrainException"/> for
    /// one that lies outside the model, before memory is taken for it.</summary>
    NativeSpan Begin(CheckpointPieceHeader header, int length);

    /// <summary>A piece stands in its place.</summary>
    void Complete(CheckpointPieceHeader header, int length);

    /// <summary>A piece that was begun will not come to its end.</summary>
    void Abort(CheckpointPieceHeader header);

    /// <summary>The pieces of a range of the checkpoint that the job resumes from, ascending for each vector. Throws
    /// <see cref="DistTrainException"/> when there is none at this version.</summary>
    IEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)> Pieces(long term, long version, long offset, long length);
}
