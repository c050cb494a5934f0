using System.Threading.Channels;
using DistTrain.Core.Messages;
using DistTrain.Transport.Grpc;
using Wire = DistTrain.Transport.Proto.V1;

namespace DistTrain.Transport.Services;

/// <summary>A member's line to the coordinator over gRPC.</summary>
public sealed class GrpcCoordinatorLink : ICoordinatorLink
{
    private readonly Channel<MemberMessage> _outgoing = Channel.CreateUnbounded<MemberMessage>(new UnboundedChannelOptions { SingleReader = true });
    private readonly IGrpcCall<Wire.MemberMessage, Wire.CoordinatorMessage> _call;
    private readonly TaskCompletionSource<string> _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task _pumps;

    private GrpcCoordinatorLink(IGrpcCall<Wire.MemberMessage, Wire.CoordinatorMessage> call, Func<CoordinatorMessage, ValueTask> receive)
    {
        _call = call;
        _pumps = Task.WhenAll(Task.Run(WriteAsync), Task.Run(() => ReadAsync(receive)));
    }

    /// <summary>Completes with the cause when the link has ended, from whichever side.</summary>
    public Task<string> Closed => _closed.Task;

    /// <summary>
    /// Opens the link. <paramref name="receive"/> gets the coordinator's messages, one at a time and in order.
    /// </summary>
    /// <exception cref="GrpcException">The coordinator can't be reached, or refuses the token.</exception>
    public static async Task<GrpcCoordinatorLink> ConnectAsync(IGrpcInvoker coordinator, Func<CoordinatorMessage, ValueTask> receive, CancellationToken cancellation)
    {
        IGrpcCall<Wire.MemberMessage, Wire.CoordinatorMessage> call = coordinator.Open(ServiceMethods.Join);
        try
        {
            await call.GetHeadersAsync().WaitAsync(cancellation);
            return new GrpcCoordinatorLink(call, receive);
        }
        catch
        {
            call.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Send(MemberMessage message) => _outgoing.Writer.TryWrite(message);

    /// <summary>Sends what is queued, then ends the link.</summary>
    public async ValueTask DisposeAsync()
    {
        _outgoing.Writer.TryComplete();
        await _pumps.WaitAsync(TimeSpan.FromSeconds(1)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _call.Dispose();
        await _pumps.WaitAsync(TimeSpan.FromSeconds(1)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task WriteAsync()
    {
        try
        {
            await foreach (MemberMessage message in _outgoing.Reader.ReadAllAsync())
            {
                await _call.Requests.WriteAsync(WireMessages.ToWire(message));
            }

            _call.CompleteRequests();
        }
        catch (Exception e) when (e is GrpcException or OperationCanceledException or ObjectDisposedException)
        {
            _closed.TrySetResult(ServiceMethods.Describe(e));
        }
    }

    private async Task ReadAsync(Func<CoordinatorMessage, ValueTask> receive)
    {
        try
        {
            while (await _call.Responses.ReadAsync() is { } message)
            {
                if (WireMessages.FromWire(message) is { } known) await receive(known);
            }

            _closed.TrySetResult("the coordinator closed the link");
        }
        catch (Exception e)
        {
            // Whatever ends the link must be heard of, or its member would wait for ever.
            _closed.TrySetResult(ServiceMethods.Describe(e));
        }
        finally
        {
            _outgoing.Writer.TryComplete();
        }
    }
}
