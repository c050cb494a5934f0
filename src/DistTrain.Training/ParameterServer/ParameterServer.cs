using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Core.Tracing;

namespace DistTrain.Training.ParameterServer;

/// <summary>What a parameter server knows of the job.</summary>
/// <param name="Layout">The model's tensors.</param>
/// <param name="Shards">Shards a mini-batch.</param>
/// <param name="Initialise">Writes the seed's initial weights for the range of the flat vector that begins at the offset.</param>
/// <param name="Rule">How weights change.</param>
public sealed record ServerSetup(ParameterLayout Layout, int Shards, Action<long, Memory<float>> Initialise, UpdateRule Rule)
{
    /// <summary>Where what the server does is recorded; null for nowhere.</summary>
    public TraceRecorder? Trace { get; init; }
}

/// <summary>A complete segment, as it lies in the server's mailbox.</summary>
internal sealed record SegmentArrived(SegmentHeader Header, ISegmentBuffer? Buffer);

/// <summary>The partition's second copy is connected.</summary>
internal sealed record ReplicaConnected(ReplicaFeed Feed, IServerConnection Connection);

/// <summary>A second copy in the making has all of the partition.</summary>
internal sealed record CopyArrived(ReplicaFilling Filling);

/// <summary>The second copy has got all of the partition, and can be sent what followed.</summary>
internal sealed record CopySent(ReplicaFeed Feed, OwnPartition Own);

/// <summary>A checkpoint's cut could not be sent, after several attempts.</summary>
internal sealed record UploadFailed(long Term, long Version, string Cause);

/// <summary>
/// The actor that owns one partition: it accepts terms, takes its partition from the seed or a checkpoint, and lets
/// <see cref="ServerLoop"/> run the steps, or <see cref="SegmentwiseLoop"/> where they don't wait for each other.
/// </summary>
public sealed class ParameterServer : IActor, IParameterServerPort, IAsyncDisposable
{
    // The coordinator's process may be on its way back.
    private const int UploadAttempts = 200;
    private static readonly TimeSpan UploadPause = TimeSpan.FromMilliseconds(300);
    private static readonly TimeSpan CopyPause = TimeSpan.FromMilliseconds(50);

    private readonly ServerSetup _setup;
    private readonly ShardTree _tree;
    private readonly ICoordinatorLink _link;
    private readonly ICheckpointPort _checkpoints;
    private readonly Action<string> _log;
    private readonly CancellationTokenSource _ending = new();
    private readonly List<Task> _uploads = [];
    private IActorRef? _self;
    private readonly IChannel? _channel;
    private readonly ulong _incarnation;
    private volatile IServerLoop? _loop;
    private ServerLoop? _resting;
    private OwnPartition? _own;
    private volatile ReplicaFilling? _filling;
    private bool _counts = true;
    private ReplicaLink? _replica;
    private long _term;
    private int _waiting;
    private ReadOnlyMemory<byte> _record;

    /// <summary>Creates a server that owns nothing yet.</summary>
    /// <param name="setup">What it knows of the job.</param>
    /// <param name="link">Where it reports to.</param>
    /// <param name="checkpoints">Where checkpoints go, and come from.</param>
    /// <param name="log">Takes lines for a person.</param>
    /// <param name="channel">Where second copies are reached; null where there can be none.</param>
    /// <param name="incarnation">Random for this life of it.</param>
    public ParameterServer(ServerSetup setup, ICoordinatorLink link, ICheckpointPort checkpoints, Action<string> log, IChannel? channel = null, ulong incarnation = 0)
    {
        (_setup, _link, _checkpoints, _log, _channel, _incarnation) = (setup, link, checkpoints, log, channel, incarnation);
        _tree = new ShardTree(setup.Shards);
    }

    /// <summary>Sends a partition's pieces to the server of its second copy; null where there can be none.</summary>
    public Func<ServerAddress, IAsyncEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)>, CancellationToken, Task>? SendCopy { get; init; }

    /// <summary>After so long without a connection to the second copy the coordinator is told.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.MaxValue;

    /// <inheritdoc/>
    public ICheckpointKeeper? Copies => _filling;

    /// <summary>Tells the server its own address, so that channels can leave segments in its mailbox.</summary>
    public void Attach(IActorRef self) => _self = self;

    /// <inheritdoc/>
    public async ValueTask ReceiveAsync(object message, IActorContext context)
    {
        switch (message)
        {
            case SegmentArrived segment:
                Receive(segment);
                break;
            case Clock clock when clock.Term == _term && _loop is { } loop:
                Orders.RequireSteps(clock);
                _record = clock.Record;
                loop.Advance(clock);
                break;
            case NormsDecided norms when norms.Term == _term && _loop is { } loop:
                loop.Decided(norms);
                break;
            case NormsDecided norms when norms.Term == _term && _filling is { } filling:
                if (norms.Step >= filling.Own.CopyAt && filling.Norms.Count < ReplicaFeed.MostAhead * 2) filling.Norms.Add(norms);
                break;
            case CopyArrived arrived when arrived.Filling == _filling && _loop is null:
                Follow(arrived.Filling);
                break;
            case CopySent sent when sent.Own == _own && _loop is not null && _replica is null:
                Connect(sent.Own, sent.Feed);
                break;
            case CopyCounts counts when counts.Term == _term && _loop is ServerLoop loop:
                _counts = true;
                loop.CopyCounts();
                break;
            case MissingAsked asked when asked.Term == _term && _loop is { } loop:
                _link.Send(new ShardsMissing(_term, loop.Broadcast.Partition, asked.Step, asked.Evaluation, loop.Missing(asked.Step, asked.Evaluation)));
                break;
            case Explain explain:
                context.Sender?.Tell(Explained(explain.Round));
                break;
            case AcceptTerm accept when accept.Term > _term:
                await RestAsync();
                _link.Send(new TermAccepted(accept.Term, _term, _record) { Held = _own is { } held && _counts ? _resting?.Held(held) : null });
                _term = accept.Term;
                break;
            case AcceptTerm refuse:
                _link.Send(new TermRefused(refuse.Term, _term));
                break;
            case OwnPartition own when own.Term == _term:
                await OwnAsync(own, context.Stopping);
                break;
            case ReplicaConnected connected when _loop is ServerLoop loop:
                loop.Connected(connected.Feed, connected.Connection);
                break;
            case UploadFailed failed when failed.Term == _term:
                throw new DistTrainException(ExitCode.ClusterLost, $"could not send the checkpoint at step {failed.Version}: {failed.Cause}");
        }
    }

    /// <inheritdoc/>
    public ISegmentBuffer? BeginSegment(in SegmentHeader header, int length) => _loop?.TryBegin(header, length);

    /// <inheritdoc/>
    public bool Wants(in SegmentHeader header, int length) => _loop?.Wants(header, length) ?? false;

    /// <inheritdoc/>
    public ValueTask CompleteSegmentAsync(SegmentHeader header, ISegmentBuffer? buffer, CancellationToken cancellation)
    {
        _setup.Trace.Mark(TraceName.Received, header.Step, header.Bucket, header.Shards, onChannel: true);
        _setup.Trace.Count(TraceName.SegmentsWaiting, Interlocked.Increment(ref _waiting));
        return _self!.TellAsync(new SegmentArrived(header, buffer), null, cancellation);
    }

    /// <inheritdoc/>
    public IWeightsSubscription Subscribe(long term, ulong incarnation, bool inline = false, Lane lane = default)
    {
        IServerLoop? loop = _loop;
        return loop is not null && loop.Term == term
            ? loop.Broadcast.Subscribe(inline, incarnation, lane)
            : throw new DistTrainException(ExitCode.ClusterLost, $"this server is at term {loop?.Term ?? 0}, the subscription is for term {term}");
    }

    private Explained Explained(long round) =>
        _loop is { } loop ? loop.Explain(round)
        : new(round, _filling is { } filling ? $"waits for the copy of partition {filling.Own.Partition} as of step {filling.Own.CopyAt}" : _term > 0 ? $"holds no partition in term {_term}" : "has heard of no term yet");

    /// <summary>Ends uploads and gives back what workers lent. Only when the actor has stopped.</summary>
    public async ValueTask DisposeAsync()
    {
        await _ending.CancelAsync();
        await Task.WhenAll(_uploads);
        if (_replica is not null) await _replica.DisposeAsync();
        _resting?.Dispose();
        _loop?.Dispose();
        (_loop, _resting) = (null, null);
    }

    // The term is over; what it came to is kept until it is clear whether another one goes on from there.
    private async Task RestAsync()
    {
        if (_replica is not null) await _replica.DisposeAsync();
        (_replica, _filling) = (null, null);
        IServerLoop? loop = _loop;
        _loop = null;
        if (loop is ServerLoop going)
        {
            going.Rest();
            _resting = going;
        }
        else
        {
            loop?.Dispose();
        }
    }

    private void Receive(SegmentArrived segment)
    {
        _setup.Trace.Count(TraceName.SegmentsWaiting, Interlocked.Decrement(ref _waiting));
        if (_loop is { } loop) loop.Receive(segment.Header, segment.Buffer);
        else segment.Buffer?.Release();
    }

    private async Task OwnAsync(OwnPartition own, CancellationToken cancellation)
    {
        var plan = BucketPlan.Ordered(_setup.Layout, own.Partitions, own.Shares, own.BucketLength);
        Orders.RequireStep(own.Version);
        if ((uint)own.Partition >= (uint)plan.Partitions.Length) throw Orders.Bad($"partition {own.Partition} of {plan.Partitions.Length}");
        (ServerLoop? before, _resting) = (_resting, null);
        (_own, _counts) = (null, true);
        ReplicaFeed? feed = own.Replica is not null && _channel is not null ? new ReplicaFeed(_setup.Shards, _incarnation, own.CopyAt) : null;
        if (own.Keep)
        {
            if (before is null || !plan.Partitions[own.Partition].Buckets.SequenceEqual(before.State.Partition.Buckets)) throw new DistTrainException(ExitCode.ClusterLost, $"told to go on with partition {own.Partition}, of which nothing is held here");
            _loop = new ServerLoop(_tree, before.State, own, before, feed, _link.Send, Upload, cut => Copy(cut, own, feed!)) { Trace = _setup.Trace };
            before.Dispose();
            Begin(own, feed);
            return;
        }

        before?.Dispose();
        Partition partition = plan.Partitions[own.Partition];
        var state = new PartitionState(_setup.Layout, partition, _setup.Rule);
        if (own is { IsReplica: true, CopyAt: > 0 })
        {
            _filling = new ReplicaFilling(state, own with { Version = own.CopyAt }, whole => _ = _self!.TellAsync(new CopyArrived(whole)).AsTask());
            return;
        }

        if (own.Version == 0) Initialise(state);
        else await LoadAsync(state, own, cancellation);
        _loop?.Dispose();
        _loop = _setup.Rule.Consistency.IsSync
            ? new ServerLoop(_tree, state, own, null, feed, _link.Send, Upload) { Trace = _setup.Trace }
            : new SegmentwiseLoop(_tree, state, own.Term, own.Version, _link.Send, Upload) { Trace = _setup.Trace };
        Begin(own, feed);
    }

    private void Begin(OwnPartition own, ReplicaFeed? feed)
    {
        _own = own;
        if (feed is not null && own.CopyAt == 0) Connect(own, feed);
        _link.Send(new PartitionReady(own.Term, own.Partition, own.Version));
    }

    private void Connect(OwnPartition own, ReplicaFeed feed) => _replica = new ReplicaLink(
        _channel!, own.Replica!, own.Term, _incarnation, connection => _ = _self!.TellAsync(new ReplicaConnected(feed, connection)).AsTask(), _log, Patience,
        cause => CantReach(own, cause));

    private void CantReach(OwnPartition own, string cause) => _link.Send(new ServerUnreachable(own.Term, own.Partition, cause));

    // The partition has arrived: goes on from there with what followed. It holds nothing for another term until it counts.
    private void Follow(ReplicaFilling filling)
    {
        _counts = false;
        var loop = new ServerLoop(_tree, filling.State, filling.Own, null, null, _link.Send, Upload) { Trace = _setup.Trace };
        foreach (NormsDecided norms in filling.Norms) loop.Decided(norms);
        _loop = loop;
        Begin(filling.Own with { CopyAt = 0 }, null);
    }

    private void Copy(CheckpointCut cut, OwnPartition own, ReplicaFeed feed)
    {
        _uploads.RemoveAll(u => u.IsCompleted);
        _uploads.Add(Task.Run(() => CopyAsync(cut, own, feed)));
    }

    // What arrives twice is the same, so a broken copy is simply begun again.
    private async Task CopyAsync(CheckpointCut cut, OwnPartition own, ReplicaFeed feed)
    {
        using (cut)
        {
            long since = TimeProvider.System.GetTimestamp();
            while (!_ending.IsCancellationRequested && Interlocked.Read(ref _term) == own.Term)
            {
                try
                {
                    await cut.CopyAsync(pieces => SendCopy!(own.Replica!, pieces, _ending.Token), _ending.Token);
                    await _self!.TellAsync(new CopySent(feed, own));
                    return;
                }
                catch (Exception e) when (!_ending.IsCancellationRequested)
                {
                    if (TimeProvider.System.GetElapsedTime(since) >= Patience)
                    {
                        CantReach(own, e.Message);
                        since = TimeProvider.System.GetTimestamp();
                    }

                    await Task.Delay(CopyPause, _ending.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
                catch (Exception)
                {
                    return;
                }
            }
        }
    }

    private void Initialise(PartitionState state)
    {
        var chunk = new float[ParameterLayout.BlockLength];
        foreach (Bucket bucket in state.Partition.Buckets)
        {
            for (int done = 0; done < bucket.Length; done += chunk.Length)
            {
                Memory<float> part = chunk.AsMemory(0, Math.Min(chunk.Length, bucket.Length - done));
                _setup.Initialise(bucket.Offset + done, part);
                state.Initialise(bucket.Offset + done, part.Span);
            }
        }
    }

    private async Task LoadAsync(PartitionState state, OwnPartition own, CancellationToken cancellation)
    {
        Partition partition = state.Partition;
        long missing = partition.Length * state.VectorNames.Count();
        await _checkpoints.LoadAsync(own.Term, own.Version, partition.Offset, partition.Length, Place, cancellation);
        if (missing != 0) throw new DistTrainException(ExitCode.BadData, $"the checkpoint at step {own.Version} ended {missing} elements early for partition {partition.Index}");

        NativeSpan Place(CheckpointPieceHeader header, int length)
        {
            if (!state.VectorNames.Contains(header.Vector) || header.Offset < partition.Offset || length < 0 || header.Offset > partition.End - length)
            {
                throw new DistTrainException(ExitCode.BadData, $"the checkpoint at step {own.Version} sent '{header.Vector}' [{header.Offset}, +{length}), outside partition {partition.Index}");
            }

            missing -= length;
            return state.Vector(header.Vector, own.Version, header.Offset, length);
        }
    }

    private void Upload(CheckpointCut cut)
    {
        _uploads.RemoveAll(u => u.IsCompleted);
        _uploads.Add(Task.Run(() => UploadAsync(cut)));
    }

    // Pieces that arrive twice are the same, so a broken upload is simply begun again.
    private async Task UploadAsync(CheckpointCut cut)
    {
        using (cut)
        {
            // Another term asks anew for what it wants saved.
            for (int attempt = 1; !_ending.IsCancellationRequested && Interlocked.Read(ref _term) == cut.Term; attempt++)
            {
                try
                {
                    await cut.UploadAsync(_checkpoints, _ending.Token);
                    return;
                }
                catch (Exception e) when (!_ending.IsCancellationRequested)
                {
                    if (attempt == UploadAttempts)
                    {
                        await _self!.TellAsync(new UploadFailed(cut.Term, cut.Version, e.Message));
                        return;
                    }

                    if (attempt == 1) _log($"checkpoint at step {cut.Version}: sending it failed ({e.Message}); trying again");
                    await Task.Delay(UploadPause, _ending.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
                catch (Exception)
                {
                    return;
                }
            }
        }
    }
}
