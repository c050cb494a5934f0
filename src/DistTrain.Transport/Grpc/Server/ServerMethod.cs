using Google.Protobuf;

namespace DistTrain.Transport.Grpc;

/// <summary>A method with its handler.</summary>
internal abstract class ServerMethod(GrpcMethod method)
{
    public GrpcMethod Method => method;

    public abstract Task InvokeAsync(GrpcServerCall call);
}

/// <inheritdoc/>
internal sealed class ServerMethod<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method, GrpcHandler<TRequest, TResponse> handler) : ServerMethod(method)
    where TRequest : class, IMessage<TRequest>, new()
    where TResponse : class, IMessage<TResponse>, new()
{
    public override async Task InvokeAsync(GrpcServerCall call)
    {
        using var requests = new Reader(call, Method.SingleRequest);
        var responses = new Writer(call, Method.SingleResponse);
        await handler(requests, responses, call);
        if (Method.SingleResponse && responses.Count == 0) throw new InvalidOperationException($"the handler of {Method.FullName} returned without a response");
    }

    private sealed class Reader(GrpcServerCall call, bool single) : CallReader<TRequest>(call, single, "request")
    {
        protected override ValueTask<MessageDecoder<TRequest>> OpenAsync() =>
            new(new MessageDecoder<TRequest>(new PipeSource(call.Context.Request.BodyReader), Math.Min(call.Server.Options.MaxReceiveMessageSize, call.Method.MostBytes), call.GzipRequests));
    }

    private sealed class Writer(GrpcServerCall call, bool single) : CallWriter<TResponse>(call)
    {
        private ByteTarget? _target;
        private MessageEncoder<TResponse>? _encoder;

        public int Count { get; private set; }

        protected override void Begin()
        {
            call.BeginWrite();
            if (!single || Count == 0) return;
            call.EndWrite();
            throw new InvalidOperationException($"{call.Method.FullName} has one response, and it has been written");
        }

        protected override void End()
        {
            Count++;
            call.EndWrite();
        }

        protected override ValueTask<(ByteTarget Target, MessageEncoder<TResponse> Encoder)> OpenAsync()
        {
            if (_target is null)
            {
                bool gzip = call.PrepareResponse();
                _encoder = new(call.Server.Options.MaxSendMessageSize, gzip);
                _target = new PipeTarget(call.Context.Response.BodyWriter);
            }

            return new((_target, _encoder!));
        }
    }
}
