using System.Threading.Channels;
using DistTrain.Core;
using DistTrain.Core.Channels;
using DistTrain.Core.Memory;

namespace DistTrain.Transport.InProcess;

/// <summary>
/// The channel between workers and servers of one process. Gradients are lent to the server, not copied: the worker
/// leaves them unchanged until the step is committed. Weights are read in place, or where memory can't be shared copied.
/// </summary>
/// <param name="resolve">Finds the server of an address.</param>
public sealed class InProcessChannel(Func<ServerAddress, IParameterServerPort> resolve) : IChannel
{
    /// <inheritdoc/>
    public string Name => "in-process";

    /// <inheritdoc/>
    public Task<IServerConnection> ConnectAsync(ServerAddress server, long term, ulong incarnation, IWeightsSink sink, CancellationToken cancellation)
    {
        IParameterServerPort port = resolve(server);
        try
        {
            return Task.FromResult<IServerConnection>(new Connection(port, port.Subscribe(term, incarnation), sink));
        }
        catch (DistTrainException e)
        {
            return Task.FromException<IServerConnection>(new DistTrainException(e.ExitCode, $"server {server.Member} at {server.Endpoint}: {e.Message}", e));
        }
    }

    private sealed class Connection : IServerConnection
    {
        private readonly Channel<(SegmentHeader Header, NativeSpan Payload)> _segments =
            Channel.CreateUnbounded<(SegmentHeader, NativeSpan)>(new UnboundedChannelOptions { SingleReader = true });

        private readonly CancellationTokenSource _closing = new();
        private readonly TaskCompletionSource<string?> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly IParameterServerPort _port;
        private readonly IWeightsSubscription _subscription;
        private readonly IWeightsSink _sink;
        private readonly Task _pumps;
        private int _disposed;

        public Connection(IParameterServerPort port, IWeightsSubscription subscription, IWeightsSink sink)
        {
            (_port, _subscription, _sink) = (port, subscription, sink);
            _pumps = Task.WhenAll(Task.Run(PushAsync), Task.Run(PullAsync));
        }

        public Task<string?> Lost => _lost.Task;

        public void Push(in SegmentHeader header, NativeSpan payload) => _segments.Writer.TryWrite((header, payload));

        public async ValueTask DisposeAsync()
        {
            if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
            _segments.Writer.TryComplete();
            await _closing.CancelAsync();
            await _pumps.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _subscription.Dispose();
            _closing.Dispose();
            _lost.TrySetResult(null);
        }

        private async Task PushAsync()
        {
            try
            {
                await foreach ((SegmentHeader header, NativeSpan payload) in _segments.Reader.ReadAllAsync(_closing.Token))
                {
                    ISegmentBuffer? lent = header.Kind == SegmentKind.Gradient ? new LentBuffer(payload) : null;
                    await _port.CompleteSegmentAsync(header, lent, _closing.Token);
                }
            }
            catch (Exception e) when (!_closing.IsCancellationRequested)
            {
                _lost.TrySetResult(e.Message);
            }
        }

        private async Task PullAsync()
        {
            try
            {
                while (await _subscription.NextAsync(_closing.Token) is { } next)
                {
                    await _sink.ReadAsync(next.Header, next.Payload, SharedRegion.Find(next.Payload.Address)?.Region, _closing.Token);
                }

                _lost.TrySetResult("the server has stopped");
            }
            catch (Exception e) when (!_closing.IsCancellationRequested)
            {
                _lost.TrySetResult(e.Message);
            }
        }
    }

    private sealed class LentBuffer(NativeSpan elements) : ISegmentBuffer
    {
        public NativeSpan Elements => elements;

        public bool Writable => false;

        public void Release()
        {
        }
    }
}
