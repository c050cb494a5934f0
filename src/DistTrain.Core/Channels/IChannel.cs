using DistTrain.Core.Memory;
using DistTrain.Core.Sharding;

namespace DistTrain.Core.Channels;

/// <summary>What a segment belongs to.</summary>
public enum SegmentKind
{
    /// <summary>The gradient of a training step.</summary>
    Gradient,

    /// <summary>Sums of an evaluation; no payload.</summary>
    Evaluation,
}

/// <summary>Everything about a segment but its numbers.</summary>
/// <param name="Kind">Gradient or evaluation.</param>
/// <param name="Term">The term of the assignment that it answers.</param>
/// <param name="Incarnation">The worker's incarnation.</param>
/// <param name="Step">The training step t, or the model version that is evaluated.</param>
/// <param name="Bucket">The bucket's index; -1 for evaluations.</param>
/// <param name="Shards">The tree node.</param>
/// <param name="Stats">Loss, weight and the like, summed over the node's shards.</param>
public readonly record struct SegmentHeader(
    SegmentKind Kind, long Term, ulong Incarnation, long Step, int Bucket, ShardRange Shards, SegmentStats Stats)
{
    /// <summary>
    /// Where steps don't wait for each other: the steps below it were in the weights that the segment was computed with, all of
    /// them whole.
    /// </summary>
    public long Basis { get; init; }

    /// <summary>Where steps don't wait for each other: the segment's number among the worker's of this bucket, one by one; the same when it is sent again.</summary>
    public long Number { get; init; }

    /// <summary>Where steps don't wait for each other: the worker does not wait to hear of lower <see cref="Number"/>s.</summary>
    public long Oldest { get; init; }
}

/// <summary>
/// A range of native memory, owned by somebody else: fp32 elements, or what they were packed into to travel, which
/// channels don't look at.
/// </summary>
/// <param name="Address">The first element; 64-byte aligned unless said otherwise.</param>
/// <param name="Length">Elements; packed ones in words of four bytes.</param>
public readonly record struct NativeSpan(nint Address, int Length)
{
    /// <summary>The elements.</summary>
    public unsafe Span<float> Span => new((void*)Address, Length);
}

/// <summary>Which bucket at which model version.</summary>
/// <param name="Term">The server's term.</param>
/// <param name="Version">The model version of the payload.</param>
/// <param name="Bucket">The bucket's index.</param>
public readonly record struct WeightsHeader(long Term, long Version, int Bucket)
{
    /// <summary>
    /// True for the averages of the weights as of that version, which are evaluated in the weights' place; sent of versions
    /// that are evaluated, where the job has averages.
    /// </summary>
    public bool Averaged { get; init; }

    /// <summary>
    /// Where steps don't wait for each other: how many updates the bucket had at least, so that newer weights of one version can be told.
    /// The version is then how many mini-batches are in it whole.
    /// </summary>
    public long Updates { get; init; }

    /// <summary>
    /// Where steps don't wait for each other: the subscriber's segments of this bucket that bear a lower
    /// <see cref="SegmentHeader.Number"/> have been applied or dropped, and are not read any more.
    /// </summary>
    public long Taken { get; init; }
}

/// <summary>The place of a parameter server.</summary>
/// <param name="Partition">The partition that it owns.</param>
/// <param name="Member">Its member number.</param>
/// <param name="Endpoint">Where it listens.</param>
public sealed record ServerAddress(int Partition, MemberId Member, string Endpoint);

/// <summary>
/// How tensors move: in-process, shared memory or gRPC. A channel carries gradients from workers to parameter servers
/// and weights back; it neither reorders nor drops within one connection, and knows nothing of training.
/// </summary>
/// <example>
/// <code>
/// await using IServerConnection server = await channel.ConnectAsync(address, term, incarnation, mySink, cancellation);
/// server.Push(header, gradient);   // returns at once; gradient stays untouched until the step is committed
/// </code>
/// </example>
public interface IChannel
{
    /// <summary>The name in figures: <c>in-process</c>, <c>grpc</c>.</summary>
    string Name { get; }

    /// <summary>
    /// Connects a worker to a server and subscribes to its weights: the current version of each bucket at once, then
    /// every new one. Throws <see cref="DistTrainException"/> when the server can't be reached or refuses.
    /// </summary>
    Task<IServerConnection> ConnectAsync(ServerAddress server, long term, ulong incarnation, IWeightsSink sink, CancellationToken cancellation);
}

/// <summary>A worker's connection to one parameter server. <see cref="Push"/> is called by one thread at a time.</summary>
public interface IServerConnection : IAsyncDisposable
{
    /// <summary>
    /// Queues a segment and returns. The payload belongs to the caller, who leaves it unchanged until the step is
    /// committed (or <see cref="WeightsHeader.Taken"/> is beyond its number); evaluation segments have none. After a loss of the connection this does nothing.
    /// </summary>
    void Push(in SegmentHeader header, NativeSpan payload);

    /// <summary>Completes with the cause when the connection is lost, with null after <c>DisposeAsync</c>.</summary>
    Task<string?> Lost { get; }
}

/// <summary>Where weights arrive at a worker. Called from the channel's threads, per bucket in ascending versions.</summary>
public interface IWeightsSink
{
    /// <summary>
    /// The place for a bucket about to arrive, or an address of 0 to drop it. May wait while the place is in use:
    /// the channel then reads no further from that server. Averages have a place of their own.
    /// </summary>
    ValueTask<NativeSpan> BeginAsync(WeightsHeader header, CancellationToken cancellation);

    /// <summary>The payload stands in the place given by <see cref="BeginAsync"/>.</summary>
    void Complete(WeightsHeader header);

    /// <summary>
    /// A bucket that lies in memory that this process can read: the server's own, or mapped from it. The sink copies it,
    /// or keeps the region and reads it in place from now on. Waits as <see cref="BeginAsync"/> does.
    /// </summary>
    /// <param name="header">The bucket.</param>
    /// <param name="source">Where it lies; it may be read until this completes, and in a region until the version after the next is published.</param>
    /// <param name="region">The region that it lies in, which outlives the connection; null for other memory.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    async ValueTask ReadAsync(WeightsHeader header, NativeSpan source, SharedRegion? region, CancellationToken cancellation)
    {
        NativeSpan place = await BeginAsync(header, cancellation);
        if (place.Address == 0) return;
        if (place.Length != source.Length) throw new DistTrainException(ExitCode.ClusterLost, $"bucket {header.Bucket} came with {source.Length} words, expected {place.Length}");
        source.Span.CopyTo(place.Span);
        Complete(header);
    }

    /// <summary>The payload will not come to its end; what was written is void.</summary>
    void Abort(WeightsHeader header);

    /// <summary>How many buckets of a partition, at least, have to come until there is something to do; 1 where that isn't known.</summary>
    int Lacks(int partition) => 1;
}

/// <summary>
/// A place for a segment at the server: rented, or the worker's own memory where both share a process.
/// Whoever holds it calls <see cref="Release"/> once.
/// </summary>
public interface ISegmentBuffer
{
    /// <summary>The elements.</summary>
    NativeSpan Elements { get; }

    /// <summary>True when the holder may write to it; false for memory lent by a worker.</summary>
    bool Writable { get; }

    /// <summary>Gives it back.</summary>
    void Release();
}

/// <summary>What a parameter server offers to channels. Thread-safe.</summary>
public interface IParameterServerPort
{
    /// <summary>
    /// Asks for room for a segment of <paramref name="length"/> elements that is about to arrive. Null drops it:
    /// a lower term, a committed step, an unknown bucket or a length that doesn't fit. Sizes are checked before memory is taken.
    /// </summary>
    ISegmentBuffer? BeginSegment(in SegmentHeader header, int length);

    /// <summary>Whether <see cref="BeginSegment"/> would give room: for segments that lie in memory this process can read.</summary>
    bool Wants(in SegmentHeader header, int length);

    /// <summary>Where the pieces of a partition go that this server is to have the second copy of; null while none is expected.</summary>
    ICheckpointKeeper? Copies => null;

    /// <summary>Hands a complete segment to the server, which releases the buffer in time; evaluations have none. Waits
    /// while its mailbox is full.</summary>
    ValueTask CompleteSegmentAsync(SegmentHeader header, ISegmentBuffer? buffer, CancellationToken cancellation);

    /// <summary>
    /// Subscribes to this server's weights until the subscription is disposed. Throws
    /// <see cref="DistTrainException"/> for a term that is not the server's.
    /// </summary>
    /// <param name="term">The server's.</param>
    /// <param name="incarnation">The subscriber's.</param>
    /// <param name="inline">Whether what awaits the subscription runs on the server's own thread: for those who only leave a short word.</param>
    /// <param name="lane">The buckets that it is about; all of them by default.</param>
    IWeightsSubscription Subscribe(long term, ulong incarnation, bool inline = false, Lane lane = default);
}

/// <summary>One of several connections between a worker and a server, each with its share of the buckets. The default carries all.</summary>
/// <param name="Index">Which of them, from 0.</param>
/// <param name="Count">How many there are.</param>
public readonly record struct Lane(int Index, int Count)
{
    /// <summary>The most lanes between a worker and a server.</summary>
    public const int Most = 64;

    /// <summary>Whether a bucket travels here; what belongs to no bucket goes over the first.</summary>
    public bool Carries(int bucket) => Count <= 1 || Of(bucket, Count) == Index;

    /// <summary>The lane of a bucket among <paramref name="count"/>: neighbours take turns.</summary>
    public static int Of(int bucket, int count) => Math.Max(bucket, 0) % count;
}

/// <summary>One subscriber's view of a server's weights.</summary>
public interface IWeightsSubscription : IDisposable
{
    /// <summary>
    /// Waits for the next bucket to send; null when the server has stopped. The payload may be read until the next
    /// call. A slow subscriber skips versions: it always gets the newest of a bucket.
    /// </summary>
    ValueTask<(WeightsHeader Header, NativeSpan Payload)?> NextAsync(CancellationToken cancellation);
}
