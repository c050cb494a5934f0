using System.Collections.Concurrent;
using System.Threading.Channels;
using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Channels;
using DistTrain.Core.Memory;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.SharedMemory;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.Services;

/// <summary>
/// The channel between processes: gradients as a client stream, weights as a server stream, payloads straight between
/// native memory and the socket. Where worker and server are on one host, payloads stay where they are: messages name the shared memory
/// that they lie in, which the other side maps.
/// </summary>
/// <param name="connect">Makes the client for an endpoint; kept for later connections to it.</param>
/// <param name="shares">Whether memory is shared with a server, if it is of this host.</param>
/// <param name="lanes">Connections to each server whose payloads travel, for links that are faster than one connection.</param>
public sealed class GrpcTensorChannel(Func<string, IGrpcInvoker> connect, Func<ServerAddress, bool> shares, int lanes = 1) : IChannel
{
    private readonly ConcurrentDictionary<(string Endpoint, int Lane), IGrpcInvoker> _invokers = new();

    /// <summary>For servers that are all alike in that.</summary>
    public GrpcTensorChannel(Func<string, IGrpcInvoker> connect, bool share = true, int lanes = 1)
        : this(connect, _ => share, lanes) => Name = share && HostIdentity.Own.Length > 0 ? "shared-memory" : "grpc";

    /// <inheritdoc/>
    public string Name { get; } = "grpc";

    /// <inheritdoc/>
    public async Task<IServerConnection> ConnectAsync(ServerAddress server, long term, ulong incarnation, IWeightsSink sink, CancellationToken cancellation)
    {
        Connection first;
        try
        {
            first = Open(new Lane(0, lanes));
        }
        catch (ArgumentException e)
        {
            throw new DistTrainException(ExitCode.ClusterLost, $"server {server.Member}: {e.Message}", e);
        }

        IServerConnection connection = first;
        try
        {
            await first.OpenAsync(cancellation);
            if (first.Lanes <= 1) return first;
            Connection[] all = [first, .. Enumerable.Range(1, first.Lanes - 1).Select(lane => Open(new Lane(lane, first.Lanes)))];
            connection = new LanedConnection(all);
            await Task.WhenAll(all.Skip(1).Select(lane => lane.OpenAsync(cancellation)));
            return connection;
        }
        catch (Exception e)
        {
            await connection.DisposeAsync();
            if (e is GrpcException) throw new DistTrainException(ExitCode.ClusterLost, $"server {server.Member} at {server.Endpoint}: {ServiceMethods.Describe(e)}", e);
            throw;
        }

        // Only the first can find that memory is shared, and then it is the only one.
        Connection Open(Lane lane) => new(
            _invokers.GetOrAdd((server.Endpoint, lane.Index), static (key, connect) => connect(key.Endpoint), connect), server.Partition, term, incarnation, sink, shares(server) && lane.Index == 0, lane);
    }

    /// <summary>Several connections to one server: lost when one of them is.</summary>
    private sealed class LanedConnection(Connection[] lanes) : IServerConnection
    {
        private readonly Task<string?> _lost = AnyLostAsync(lanes);

        public Task<string?> Lost => _lost;

        public void Push(in SegmentHeader header, NativeSpan payload) => lanes[Lane.Of(header.Bucket, lanes.Length)].Push(header, payload);

        public async ValueTask DisposeAsync()
        {
            foreach (Connection lane in lanes) await lane.DisposeAsync();
        }

        private static async Task<string?> AnyLostAsync(Connection[] lanes) => await await Task.WhenAny(lanes.Select(lane => lane.Lost));
    }

    private sealed class Connection : IServerConnection, IPayloadSink<Wire.Weights>
    {
        private readonly Channel<(SegmentHeader Header, NativeSpan Payload)> _segments =
            Channel.CreateUnbounded<(SegmentHeader, NativeSpan)>(new UnboundedChannelOptions { SingleReader = true });

        private readonly TaskCompletionSource<string?> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly IGrpcCall<Wire.SubscribeRequest, Wire.Weights> _weights;
        private readonly IGrpcCall<Wire.Segment, Wire.PushReply> _push;
        private readonly IWeightsSink _sink;
        private readonly Func<int> _wanted;
        private readonly SharedRegions _regions = new();
        private readonly SharedRegions _lineRegions = new();
        private readonly CancellationTokenSource _ending = new();
        private readonly SharedLine<LineMessage>? _line;
        private readonly TaskCompletionSource _lineRead = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _answered = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private volatile bool _lined;
        private int _waiting;
        private Task _pumps = Task.CompletedTask;
        private volatile bool _shares;
        private bool _closing;

        public Connection(IGrpcInvoker invoker, int partition, long term, ulong incarnation, IWeightsSink sink, bool share, Lane lane)
        {
            (_sink, _wanted, Lanes) = (sink, () => sink.Lacks(partition), lane.Count);
            var request = new Wire.SubscribeRequest { Term = term, Incarnation = incarnation, HostIdentity = share ? HostIdentity.Own : "", Lane = lane.Index, Lanes = lane.Count > 1 ? lane.Count : 0 };
            _line = request.HostIdentity.Length > 0 ? SharedLine<LineMessage>.Create() : null;
            if (_line is not null) request.Line = SharedRegions.Name(_line.Own, 0, SharedLine<LineMessage>.Length);
            _weights = invoker.Send(ServiceMethods.Subscribe, request);
            _push = invoker.Open(ServiceMethods.Push);
        }

        public Task<string?> Lost => _lost.Task;

        /// <summary>Over how many connections the server sends; known once this one is open.</summary>
        public int Lanes { get; private set; }

        // The headers come once the server has accepted the subscription, so a refusal is this connection's failure.
        public async Task OpenAsync(CancellationToken cancellation)
        {
            await _weights.GetHeadersAsync().WaitAsync(cancellation);
            _pumps = Task.WhenAll(
                Task.Run(PushAsync, CancellationToken.None), Task.Run(PullAsync, CancellationToken.None), Task.Run(WatchPushAsync, CancellationToken.None));
            // Whether there is a line is known before anything is pushed: what goes over it would overtake what went before.
            if (_line is not null) await Task.WhenAny(_answered.Task, _lost.Task).WaitAsync(cancellation);
        }

        // Segments in shared memory are announced at once, by the thread that computes, unless some wait for room already.
        public void Push(in SegmentHeader header, NativeSpan payload)
        {
            if (_lined && Volatile.Read(ref _waiting) == 0 && TryAnnounce(header, payload)) return;
            Interlocked.Increment(ref _waiting);
            _segments.Writer.TryWrite((header, payload));
        }

        public async ValueTask DisposeAsync()
        {
            if (Interlocked.Exchange(ref _closing, true)) return;
            _segments.Writer.TryComplete();
            await _ending.CancelAsync();
            _line?.Close();
            _weights.Cancel();
            _push.Cancel();
            await _pumps.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (_lined) await _lineRead.Task;
            _line?.Dispose();
            _weights.Dispose();
            _push.Dispose();
            _regions.Close();
            _lineRegions.Close();
            _ending.Dispose();
            _lost.TrySetResult(null);
        }

        public async ValueTask<PayloadTarget> BeginAsync(Wire.Weights header, int length, CancellationToken cancellation)
        {
            if (header.Line is { } theirs)
            {
                Lanes = Math.Min(header.Lanes, Lanes);
                Join(theirs);
                return PayloadTarget.Drop;
            }

            // A server that knows of no lines.
            _answered.TrySetResult();

            if (header.Shared is { } shared)
            {
                (SharedRegion region, NativeSpan source) = _regions.Find(shared)
                    ?? throw new GrpcException(GrpcStatusCode.FailedPrecondition, $"the server's shared memory can't be mapped (process {shared.Pid}, {shared.Length} bytes); use --channel grpc");
                // The server can map this process's memory, as this one maps its.
                _shares = true;
                await _sink.ReadAsync(WireMessages.FromWire(header), source, region, cancellation);
                return PayloadTarget.Drop;
            }

            NativeSpan place = await _sink.BeginAsync(WireMessages.FromWire(header), cancellation);
            if (place.Address == 0) return PayloadTarget.Drop;
            if (length != place.Length * sizeof(float))
            {
                throw new GrpcException(GrpcStatusCode.InvalidArgument, $"bucket {header.Bucket} came with {length} bytes, expected {place.Length * sizeof(float)}");
            }

            return new PayloadTarget(new NativeBytes(place.Address, length));
        }

        public ValueTask CompleteAsync(Wire.Weights header, CancellationToken cancellation)
        {
            _sink.Complete(WireMessages.FromWire(header));
            return ValueTask.CompletedTask;
        }

        public void Abort(Wire.Weights header) => _sink.Abort(WireMessages.FromWire(header));

        private bool TryAnnounce(in SegmentHeader header, NativeSpan payload)
        {
            if (payload.Length == 0) return _line!.TryWrite(LineMessage.Of(header, null, 0, 0));
            return SharedRegion.Find(payload.Address) is { } found && _line!.TryWrite(LineMessage.Of(header, found.Region, found.Offset, (long)payload.Length * sizeof(float)));
        }

        // Waits for room in the line; false for memory that can't be shared.
        private async ValueTask<bool> AnnounceAsync(SegmentHeader header, NativeSpan payload)
        {
            if (payload.Length > 0 && SharedRegion.Find(payload.Address) is null) return false;
            while (!TryAnnounce(header, payload)) await Task.Delay(1, _ending.Token);
            return true;
        }

        private void Join(Wire.SharedBytes theirs)
        {
            if (theirs.Pid == 0)
            {
                _answered.TrySetResult();
                return;
            }

            if (_line is null || _lined) throw new GrpcException(GrpcStatusCode.FailedPrecondition, "the server answers a line that it wasn't offered");
            SharedRegion region = SharedRegion.Open(SharedRegions.NameOf(theirs)) is { } opened && opened.Length == SharedLine<LineMessage>.Length
                ? opened
                : throw new GrpcException(GrpcStatusCode.FailedPrecondition, $"the server's line of shared memory can't be mapped (process {theirs.Pid}, {theirs.Length} bytes); use --channel grpc");
            _line.Attach(region);
            _shares = _lined = true;
            _answered.TrySetResult();
            new Thread(ReadLine) { IsBackground = true, Name = "weights" }.Start();
        }

        private void ReadLine()
        {
            LentThread.Lend();
            try
            {
                while (_line!.Read(out LineMessage message, _wanted))
                {
                    (SharedRegion region, NativeSpan source) = _lineRegions.Find(message.Region, message.Offset, message.Bytes)
                        ?? throw new GrpcException(GrpcStatusCode.FailedPrecondition, $"the server's shared memory can't be mapped (process {message.Pid}, {message.RegionLength} bytes); use --channel grpc");
                    ValueTask reading = _sink.ReadAsync(message.Weights, source, region, _ending.Token);
                    if (!reading.IsCompletedSuccessfully) reading.AsTask().GetAwaiter().GetResult();
                }
            }
            catch (Exception e)
            {
                Lose(e);
            }
            finally
            {
                _lineRead.SetResult();
            }
        }

        private async Task PushAsync()
        {
            try
            {
                await foreach ((SegmentHeader header, NativeSpan payload) in _segments.Reader.ReadAllAsync())
                {
                    bool announced = _lined && await AnnounceAsync(header, payload);
                    if (_lined) Interlocked.Decrement(ref _waiting);
                    if (announced) continue;
                    Wire.Segment segment = WireMessages.ToWire(header);
                    if (_shares && payload.Length > 0 && SharedRegion.Find(payload.Address) is { } found)
                    {
                        segment.Shared = SharedRegions.Name(found.Region, found.Offset, (long)payload.Length * sizeof(float));
                        await _push.Requests.WriteAsync(segment);
                    }
                    else if (payload.Length == 0) await _push.Requests.WriteAsync(segment);
                    else await _push.Requests.WriteAsync(segment, new NativeBytes(payload.Address, payload.Length * sizeof(float)));
                }

                _push.CompleteRequests();
            }
            catch (Exception e)
            {
                Lose(e);
            }
        }

        // The reply to a push comes only when this side ends the stream: an earlier one is the server's end.
        private async Task WatchPushAsync()
        {
            try
            {
                await _push.Responses.ReadAsync();
                Lose(new GrpcException(GrpcStatusCode.Unavailable, "the server ended the stream of gradients"));
            }
            catch (Exception e)
            {
                Lose(e);
            }
        }

        private async Task PullAsync()
        {
            try
            {
                while (await _weights.Responses.ReadAsync(this))
                {
                }

                Lose(new GrpcException(GrpcStatusCode.Unavailable, "the server has stopped"));
            }
            catch (Exception e)
            {
                Lose(e);
            }
        }

        private void Lose(Exception cause)
        {
            _segments.Writer.TryComplete();
            if (!Volatile.Read(ref _closing)) _lost.TrySetResult(ServiceMethods.Describe(cause));
        }
    }
}
