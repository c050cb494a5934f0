using System.Threading.Channels;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;
using DistTrain.Transport.Grpc;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.Services;

/// <summary>Offers the coordinator over gRPC: members' links, and checkpoints.</summary>
public static class CoordinatorService
{
    /// <summary>Registers all methods; before the gRPC server starts.</summary>
    public static void Add(GrpcServer server, ICoordinatorPort coordinator, ICheckpointKeeper checkpoints)
    {
        server.Handle(ServiceMethods.Join, (requests, responses, call) => JoinAsync(coordinator, requests, responses, call));
        LinkProbe.Add(server);
        server.HandleClientStreaming(ServiceMethods.SaveCheckpoint, async (pieces, _) =>
        {
            var sink = new PieceSink(checkpoints);
            while (await pieces.ReadAsync(sink))
            {
            }

            return new Wire.SaveCheckpointReply();
        });
        server.HandleServerStreaming(ServiceMethods.LoadCheckpoint, async (request, responses, call) =>
        {
            foreach ((CheckpointPieceHeader header, NativeSpan payload) in checkpoints.Pieces(request.Term, request.Version, request.Offset, request.Length))
            {
                await responses.WriteAsync(WireMessages.ToWire(header), new NativeBytes(payload.Address, payload.Length * sizeof(float)), call.Cancellation);
            }
        });
    }

    private static async Task JoinAsync(
        ICoordinatorPort coordinator, IMessageReader<Wire.MemberMessage> requests, IMessageWriter<Wire.CoordinatorMessage> responses, GrpcServerCall call)
    {
        var link = new MemberLink(call.Peer?.ToString() ?? "unknown address");
        await call.SendHeadersAsync();
        await coordinator.OpenedAsync(link);
        // Both directions end the link: the coordinator by closing it, the member by going.
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(call.Cancellation);
        string cause = "the connection was closed";
        try
        {
            Task<string> reading = ReadAsync(coordinator, link, requests, ended.Token);
            Task writing = link.WriteAsync(responses, ended.Token);
            await Task.WhenAny(reading, writing);
            if (reading.IsCompleted) cause = await reading;
            else if (writing.IsCompletedSuccessfully) cause = "the coordinator closed the link";
            await ended.CancelAsync();
            await writing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await reading;
        }
        finally
        {
            await coordinator.ClosedAsync(link, cause);
        }
    }

    private static async Task<string> ReadAsync(ICoordinatorPort coordinator, IMemberLink link, IMessageReader<Wire.MemberMessage> requests, CancellationToken cancellation)
    {
        try
        {
            while (await requests.ReadAsync(cancellation) is { } message)
            {
                if (WireMessages.FromWire(message) is { } known) await coordinator.ReceivedAsync(link, known);
            }

            return "it closed the link";
        }
        catch (Exception e) when (e is GrpcException or OperationCanceledException)
        {
            return ServiceMethods.Describe(e);
        }
    }

    private sealed class MemberLink(string remote) : IMemberLink
    {
        private readonly Channel<CoordinatorMessage> _outgoing = Channel.CreateUnbounded<CoordinatorMessage>(new UnboundedChannelOptions { SingleReader = true });

        public string Remote => remote;

        public MemberId? Member { get; set; }

        public void Send(CoordinatorMessage message) => _outgoing.Writer.TryWrite(message);

        public void Close() => _outgoing.Writer.TryComplete();

        public async Task WriteAsync(IMessageWriter<Wire.CoordinatorMessage> responses, CancellationToken cancellation)
        {
            await foreach (CoordinatorMessage message in _outgoing.Reader.ReadAllAsync(cancellation))
            {
                await responses.WriteAsync(WireMessages.ToWire(message), cancellation);
            }
        }
    }

    internal sealed class PieceSink(ICheckpointKeeper checkpoints) : IPayloadSink<Wire.CheckpointPiece>
    {
        private int _length;

        public ValueTask<PayloadTarget> BeginAsync(Wire.CheckpointPiece header, int length, CancellationToken cancellation)
        {
            if (length % sizeof(float) != 0) throw new DistTrainException(ExitCode.BadUsage, $"a checkpoint piece has {length} bytes, which is no whole number of fp32 elements");
            _length = length / sizeof(float);
            return new(new PayloadTarget(new NativeBytes(checkpoints.Begin(WireMessages.FromWire(header), _length).Address, length)));
        }

        public ValueTask CompleteAsync(Wire.CheckpointPiece header, CancellationToken cancellation)
        {
            checkpoints.Complete(WireMessages.FromWire(header), _length);
            return ValueTask.CompletedTask;
        }

        public void Abort(Wire.CheckpointPiece header) => checkpoints.Abort(WireMessages.FromWire(header));
    }
}
