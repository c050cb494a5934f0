using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Transport.Grpc;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.Services;

/// <summary>Sends and fetches checkpoint pieces over gRPC.</summary>
public sealed class GrpcCheckpointPort(IGrpcInvoker coordinator) : ICheckpointPort
{
    /// <inheritdoc/>
    public async Task SaveAsync(IAsyncEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)> pieces, CancellationToken cancellation)
    {
        using IGrpcCall<Wire.CheckpointPiece, Wire.SaveCheckpointReply> call = coordinator.Open(ServiceMethods.SaveCheckpoint, new() { Cancellation = cancellation });
        await WriteAsync(call.Requests, pieces, cancellation);
        await call.FinishAsync();
    }

    /// <inheritdoc/>
    public async Task LoadAsync(long term, long version, long offset, long length, Func<CheckpointPieceHeader, int, NativeSpan> place, CancellationToken cancellation)
    {
        var request = new Wire.LoadCheckpointRequest { Term = term, Version = version, Offset = offset, Length = length };
        using IGrpcCall<Wire.LoadCheckpointRequest, Wire.CheckpointPiece> call =
            coordinator.Send(ServiceMethods.LoadCheckpoint, request, new() { Cancellation = cancellation });
        var sink = new PieceSink(place);
        try
        {
            while (await call.Responses.ReadAsync(sink, cancellation))
            {
            }
        }
        catch (GrpcException e)
        {
            throw new DistTrainException(e.Code == GrpcStatusCode.Unavailable ? ExitCode.ClusterLost : ExitCode.BadData, $"could not fetch the checkpoint at step {version}: {ServiceMethods.Describe(e)}", e);
        }
    }

    /// <summary>Sends a partition's pieces to the server that is to have the second copy of it.</summary>
    public static async Task CopyAsync(IGrpcInvoker server, IAsyncEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)> pieces, CancellationToken cancellation)
    {
        using IGrpcCall<Wire.CheckpointPiece, Wire.CopyReply> call = server.Open(ServiceMethods.Copy, new() { Cancellation = cancellation });
        await WriteAsync(call.Requests, pieces, cancellation);
        await call.FinishAsync();
    }

    private static async Task WriteAsync(
        IMessageWriter<Wire.CheckpointPiece> requests, IAsyncEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)> pieces, CancellationToken cancellation)
    {
        await foreach ((CheckpointPieceHeader header, NativeSpan payload) in pieces.WithCancellation(cancellation))
        {
            await requests.WriteAsync(WireMessages.ToWire(header), new NativeBytes(payload.Address, payload.Length * sizeof(float)), cancellation);
        }
    }

    private sealed class PieceSink(Func<CheckpointPieceHeader, int, NativeSpan> place) : IPayloadSink<Wire.CheckpointPiece>
    {
        public ValueTask<PayloadTarget> BeginAsync(Wire.CheckpointPiece header, int length, CancellationToken cancellation) =>
            length % sizeof(float) != 0 ? throw new GrpcException(GrpcStatusCode.InvalidArgument, $"a checkpoint piece came with {length} bytes")
            : new(new PayloadTarget(new NativeBytes(place(WireMessages.FromWire(header), length / sizeof(float)).Address, length)));

        public ValueTask CompleteAsync(Wire.CheckpointPiece header, CancellationToken cancellation) => ValueTask.CompletedTask;

        public void Abort(Wire.CheckpointPiece header)
        {
        }
    }
}
