using DistTrain.Core;
using DistTrain.Core.Channels;

namespace DistTrain.Training.ParameterServer;

/// <summary>Keeps a connection to a partition's second copy for one term: makes it, and makes it again when it is lost.</summary>
internal sealed class ReplicaLink : IAsyncDisposable
{
    private static readonly TimeSpan RetryDelay = TimeSpan.FromMilliseconds(50);

    private readonly CancellationTokenSource _ending = new();
    private readonly Task _keeping;

    /// <param name="channel">How it is reached.</param>
    /// <param name="replica">Where it is.</param>
    /// <param name="term">The term.</param>
    /// <param name="incarnation">The first copy's.</param>
    /// <param name="connected">Told of each connection; what is sent while there is none is lost.</param>
    /// <param name="log">Takes lines for a person.</param>
    /// <param name="patience">After each stretch of so long without a connection <paramref name="unreachable"/> is told why.</param>
    /// <param name="unreachable">Takes the cause.</param>
    public ReplicaLink(IChannel channel, ServerAddress replica, long term, ulong incarnation, Action<IServerConnection> connected, Action<string> log, TimeSpan patience, Action<string> unreachable) =>
        _keeping = Task.Run(() => KeepAsync(channel, replica, term, incarnation, connected, log, patience, unreachable));

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _ending.CancelAsync();
        await _keeping.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _ending.Dispose();
    }

    private async Task KeepAsync(IChannel channel, ServerAddress replica, long term, ulong incarnation, Action<IServerConnection> connected, Action<string> log, TimeSpan patience, Action<string> unreachable)
    {
        long since = TimeProvider.System.GetTimestamp();
        while (!_ending.IsCancellationRequested)
        {
            try
            {
                await using IServerConnection connection = await channel.ConnectAsync(replica, term, incarnation, NoWeights.Instance, _ending.Token);
                connected(connection);
                string? cause = await connection.Lost.WaitAsync(_ending.Token);
                since = TimeProvider.System.GetTimestamp();
                log($"lost the connection to server {replica.Member} ({replica.Endpoint}), which has the second copy of partition {replica.Partition}: {cause}; connecting again");
            }
            catch (DistTrainException e)
            {
                // It may not have heard of the term yet; whether it is lost is the coordinator's to say.
                if (TimeProvider.System.GetElapsedTime(since) >= patience)
                {
                    unreachable(e.Message);
                    since = TimeProvider.System.GetTimestamp();
                }

                await Task.Delay(RetryDelay, _ending.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    /// <summary>A second copy publishes nothing.</summary>
    private sealed class NoWeights : IWeightsSink
    {
        public static readonly NoWeights Instance = new();

        public ValueTask<NativeSpan> BeginAsync(WeightsHeader header, CancellationToken cancellation) => default;

        public void Complete(WeightsHeader header)
        {
        }

        public void Abort(WeightsHeader header)
        {
        }
    }
}
