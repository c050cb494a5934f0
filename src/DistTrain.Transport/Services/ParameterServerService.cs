using DistTrain.Core.Channels;
using DistTrain.Transport.Grpc;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.Services;

/// <summary>Offers a parameter server over gRPC.</summary>
public static class ParameterServerService
{
    /// <summary>Registers <c>Push</c> and <c>Subscribe</c>; before the gRPC server starts.</summary>
    public static void Add(GrpcServer server, IParameterServerPort port)
    {
        server.HandleClientStreaming(ServiceMethods.Push, async (segments, _) =>
        {
            var sink = new SegmentSink(port);
            while (await segments.ReadAsync(sink))
            {
            }

            return new Wire.PushReply();
        });
        server.HandleServerStreaming(ServiceMethods.Subscribe, (request, responses, call) => SendWeightsAsync(port, request, responses, call));
    }

    private static async Task SendWeightsAsync(IParameterServerPort port, Wire.SubscribeRequest request, IMessageWriter<Wire.Weights> responses, GrpcServerCall call)
    {
        using IWeightsSubscription subscription = port.Subscribe(request.Term, request.Incarnation);
        await call.SendHeadersAsync();
        while (await subscription.NextAsync(call.Cancellation) is { } next)
        {
            var header = new Wire.Weights { Term = next.Header.Term, Version = next.Header.Version, Bucket = next.Header.Bucket, Averaged = next.Header.Averaged };
            await responses.WriteAsync(header, new NativeBytes(next.Payload.Address, next.Payload.Length * sizeof(float)), call.Cancellation);
        }
    }

    private sealed class SegmentSink(IParameterServerPort port) : IPayloadSink<Wire.Segment>
    {
        private ISegmentBuffer? _buffer;

        public async ValueTask<PayloadTarget> BeginAsync(Wire.Segment header, int length, CancellationToken cancellation)
        {
            SegmentHeader segment = WireMessages.FromWire(header);
            if (segment.Kind == SegmentKind.Evaluation)
            {
                await port.CompleteSegmentAsync(segment, null, cancellation);
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
