using System.Runtime.ExceptionServices;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Memory;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.SharedMemory;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.Services;

/// <summary>Offers a parameter server over gRPC.</summary>
public static class ParameterServerService
{
    /// <summary>Registers <c>Push</c>, <c>Subscribe</c> and <c>Copy</c>; before the gRPC server starts.</summary>
    public static void Add(GrpcServer server, IParameterServerPort port)
    {
        server.HandleClientStreaming(ServiceMethods.Push, async (segments, _) =>
        {
            var sink = new SegmentSink(port);
            try
            {
                while (await segments.ReadAsync(sink))
                {
                }
            }
            finally
            {
                sink.Regions.Close();
            }

            return new Wire.PushReply();
        });
        server.HandleClientStreaming(ServiceMethods.Copy, async (pieces, _) =>
        {
            var sink = new CoordinatorService.PieceSink(port.Copies ?? throw new DistTrainException(ExitCode.ClusterLost, "this server expects no copy of a partition"));
            while (await pieces.ReadAsync(sink))
            {
            }

            return new Wire.CopyReply();
        });
        server.HandleServerStreaming(ServiceMethods.Subscribe, (request, responses, call) => SendWeightsAsync(port, request, responses, call));
    }

    private static async Task SendWeightsAsync(IParameterServerPort port, Wire.SubscribeRequest request, IMessageWriter<Wire.Weights> responses, GrpcServerCall call)
    {
        bool share = request.HostIdentity.Length > 0 && request.HostIdentity == HostIdentity.Own;
        using WorkerLine? line = share && request.Line is { } offered ? WorkerLine.TryJoin(port, SharedRegions.NameOf(offered), call.Cancellation) : null;
        CancellationToken ending = line?.Broken ?? call.Cancellation;
        // What lies in shared memory is only announced: one connection is enough.
        Lane lane = share ? default : LaneOf(request);
        using IWeightsSubscription subscription = port.Subscribe(request.Term, request.Incarnation, inline: line is not null, lane);
        await call.SendHeadersAsync();
        // Before anything else, so that nothing overtakes what goes over the line.
        if (request.Line is not null) await responses.WriteAsync(new Wire.Weights { Line = line?.Name ?? new(), Lanes = lane.Count }, ending);
        line?.Begin();

        try
        {
            while (await subscription.NextAsync(ending) is { } next)
            {
                if (!share || SharedRegion.Find(next.Payload.Address) is not { } found)
                {
                    await responses.WriteAsync(WireMessages.ToWire(next.Header), new NativeBytes(next.Payload.Address, next.Payload.Length * sizeof(float)), ending);
                    continue;
                }

                long bytes = (long)next.Payload.Length * sizeof(float);
                if (line is not null)
                {
                    while (!line.TryWrite(LineMessage.Of(next.Header, found.Region, found.Offset, bytes))) await Task.Delay(1, ending);
                    continue;
                }

                Wire.Weights header = WireMessages.ToWire(next.Header);
                header.Shared = SharedRegions.Name(found.Region, found.Offset, bytes);
                await responses.WriteAsync(header, ending);
            }
        }
        catch (OperationCanceledException) when (line?.Cause is { } cause)
        {
            ExceptionDispatchInfo.Throw(cause);
        }
        finally
        {
            // What ends a subscription may run on the thread that publishes, in the middle of it.
            await Task.Yield();
        }
    }

    private static Lane LaneOf(Wire.SubscribeRequest request) =>
        request.Lanes is >= 0 and <= Lane.Most && request.Lane >= 0 && request.Lane < Math.Max(request.Lanes, 1)
            ? new Lane(request.Lane, request.Lanes)
            : throw new GrpcException(GrpcStatusCode.InvalidArgument, $"lane {request.Lane} of {request.Lanes}: expected 0 to {Lane.Most} lanes and one of them");

    internal sealed class SegmentSink(IParameterServerPort port) : IPayloadSink<Wire.Segment>
    {
        private ISegmentBuffer? _buffer;

        public SharedRegions Regions { get; } = new();

        public async ValueTask<PayloadTarget> BeginAsync(Wire.Segment header, int length, CancellationToken cancellation)
        {
            SegmentHeader segment = WireMessages.FromWire(header);
            if (segment.Kind == SegmentKind.Evaluation)
            {
                await port.CompleteSegmentAsync(segment, null, cancellation);
                return PayloadTarget.Drop;
            }

            if (header.Shared is { } shared)
            {
                (_, NativeSpan place) = Regions.Find(shared) ?? throw new GrpcException(GrpcStatusCode.InvalidArgument, $"the worker's shared memory can't be mapped (process {shared.Pid}, {shared.Length} bytes)");
                if (port.Wants(segment, place.Length)) await port.CompleteSegmentAsync(segment, Regions.Lend(place), cancellation);
                return PayloadTarget.Drop;
            }

            _buffer = length % sizeof(float) == 0 ? port.BeginSegment(segment, length / sizeof(float)) : null;
            return _buffer is null ? PayloadTarget.Drop : new PayloadTarget(new NativeBytes(_buffer.Elements.Address, length));
        }

        public async ValueTask CompleteAsync(Wire.Segment header, CancellationToken cancellation)
        {
            await port.CompleteSegmentAsync(WireMessages.FromWire(header), Take(), cancellation);
        }

        public void Abort(Wire.Segment header) => Take()?.Release();

        private ISegmentBuffer? Take()
        {
            ISegmentBuffer? buffer = _buffer;
            _buffer = null;
            return buffer;
        }
    }
}
