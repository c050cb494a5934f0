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

/// <summary>A checkpoint's cut could not be sent, after several attempts.</summary>
internal sealed record UploadFailed(long Term, long Version, string Cause);

/// <summary>
/// The actor that owns one partition: it accepts terms, takes its partition from the seed or a checkpoint, and lets
/// <see cref="ServerLoop"/> run the steps, or <see cref="SegmentwiseLoop"/> where they don't wait for each other.
/// </summary>
public sealed class ParameterServer : IActor, IParameterServerPort, IAsyncDisposable
{
    private const int UploadAttempts = 3;

    private readonly ServerSetup _setup;
    private readonly ShardTree _tree;
    private readonly ICoordinatorLink _link;
    private readonly ICheckpointPort _checkpoints;
    private readonly Action<string> _log;
    private readonly CancellationTokenSource _ending = new();
    private readonly List<Task> _uploads = [];
    private IActorRef? _self;
    private volatile IServerLoop? _loop;
    private long _term;
    private int _waiting;
    private ReadOnlyMemory<byte> _record;

    /// <summary>Creates a server that owns nothing yet.</summary>
    public ParameterServer(ServerSetup setup, ICoordinatorLink link, ICheckpointPort checkpoints, Action<string> log)
    {
        (_setup, _link, _checkpoints, _log) = (setup, link, checkpoints, log);
        _tree = new ShardTree(setup.Shards);
    }

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
                _record = clock.Record;
                loop.Advance(clock);
                break;
            case NormsDecided norms when norms.Term == _term && _loop is { } loop:
                loop.Decided(norms);
                break;
            case MissingAsked asked when asked.Term == _term && _loop is { } loop:
                _link.Send(new ShardsMissing(_term, loop.Broadcast.Partition, asked.Step, asked.Evaluation, loop.Missing(asked.Step, asked.Evaluation)));
                break;
            case AcceptTerm accept when accept.Term > _term:
                _link.Send(new TermAccepted(accept.Term, _term, _record));
                _term = accept.Term;
                _loop?.Dispose();
                _loop = null;
                break;
            case AcceptTerm refuse:
                _link.Send(new TermRefused(refuse.Term, _term));
                break;
            case OwnPartition own when own.Term == _term:
                await OwnAsync(own, context.Stopping);
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
    public IWeightsSubscription Subscribe(long term, ulong incarnation, bool inline = false)
    {
        IServerLoop? loop = _loop;
        return loop is not null && loop.Term == term
            ? loop.Broadcast.Subscribe(inline, incarnation)
            : throw new DistTrainException(ExitCode.ClusterLost, $"this server is at term {loop?.Term ?? 0}, the subscription is for term {term}");
    }

    /// <summary>Ends uploads and gives back what workers lent. Only when the actor has stopped.</summary>
    public async ValueTask DisposeAsync()
    {
        await _ending.CancelAsync();
        await Task.WhenAll(_uploads);
        _loop?.Dispose();
        _loop = null;
    }

    private void Receive(SegmentArrived segment)
    {
        _setup.Trace.Count(TraceName.SegmentsWaiting, Interlocked.Decrement(ref _waiting));
        if (_loop is { } loop) loop.Receive(segment.Header, segment.Buffer);
        else segment.Buffer?.Release();
    }

    private async Task OwnAsync(OwnPartition own, CancellationToken cancellation)
    {
        BucketPlan plan = own.Shares.IsEmpty ? new(_setup.Layout, own.Partitions, own.BucketLength) : new(_setup.Layout, own.Shares, own.BucketLength);
        Partition partition = plan.Partitions[own.Partition];
        var state = new PartitionState(_setup.Layout, partition, _setup.Rule);
        if (own.Version == 0) Initialise(state);
        else await LoadAsync(state, own, cancellation);
        _loop?.Dispose();
        _loop = _setup.Rule.Consistency.IsSync
            ? new ServerLoop(_tree, state, own.Term, own.Version, _link.Send, Upload) { Trace = _setup.Trace }
            : new SegmentwiseLoop(_tree, state, own.Term, own.Version, _link.Send, Upload) { Trace = _setup.Trace };
        _link.Send(new PartitionReady(own.Term, own.Partition, own.Version));
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
            for (int attempt = 1; !_ending.IsCancellationRequested; attempt++)
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

                    _log($"checkpoint at step {cut.Version}: sending it failed ({e.Message}); trying again");
                }
                catch (Exception)
                {
                    return;
                }
            }
        }
    }
}
