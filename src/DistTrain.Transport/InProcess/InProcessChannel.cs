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
            return Task.FromResult<IServerConnection>(new Connection(port, port.Subscribe(term, incarnation, inline: true), sink));
        }
        catch (DistTrainException e)
        {
            return Task.FromException<IServerConnection>(new DistTrainException(e.ExitCode, $"server {server.Member} at {server.Endpoint}: {e.Message}", e));
        }
    }

    private sealed class Connection : IServerConnection
    {
        private readonly CancellationTokenSource _closing = new();
        private readonly TaskCompletionSource<string?> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly IParameterServerPort _port;
        private readonly IWeightsSubscription _subscription;
        private readonly IWeightsSink _sink;
        private readonly List<Task> _pushing = [];
        private readonly Task _pull;
        private int _disposed;

        public Connection(IParameterServerPort port, IWeightsSubscription subscription, IWeightsSink sink)
        {
            (_port, _subscription, _sink) = (port, subscription, sink);
            _pull = Task.Run(PullAsync);
        }

        public Task<string?> Lost => _lost.Task;

        // Straight into the server's mailbox; only where that is full does anything wait.
        public void Push(in SegmentHeader header, NativeSpan payload)
        {
            if (_lost.Task.IsCompleted) return;
            Task pushing = PushAsync(header, payload);
            if (pushing.IsCompleted) return;
            _pushing.RemoveAll(p => p.IsCompleted);
            _pushing.Add(pushing);
        }

        public async ValueTask DisposeAsync()
        {
            if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
            await _closing.CancelAsync();
            await Task.WhenAll([_pull, .. _pushing]).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _subscription.Dispose();
            _closing.Dispose();
            _lost.TrySetResult(null);
        }

        private async Task PushAsync(SegmentHeader header, NativeSpan payload)
        {
            try
            {
                ISegmentBuffer? lent = header.Kind == SegmentKind.Gradient ? new LentBuffer(payload) : null;
                await _port.CompleteSegmentAsync(header, lent, _closing.Token);
            }
            catch (OperationCanceledException)
            {
                // This connection ends.
            }
            catch (Exception e)
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

                // The server's own thread may be here.
                await Task.Yield();
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
