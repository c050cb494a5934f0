using System.Collections.Immutable;
using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;

namespace DistTrain.Training.Worker;

/// <summary>What a worker holds for one term: the servers, its connections to them and the weights that they send.</summary>
internal sealed class WorkerTerm : IAsyncDisposable
{
    private static readonly TimeSpan RetryDelay = TimeSpan.FromMilliseconds(100);

    private readonly IChannel _channel;
    private readonly ulong _incarnation;
    private readonly IActorRef _self;
    private readonly WeightsStore? _weights;
    private readonly GoOn _goOn;
    private readonly Action<string> _log;
    private readonly CancellationTokenSource _ending = new();
    private readonly IServerConnection?[] _open;
    private readonly Task[] _connecting;
    private readonly Lock _lock = new();
    private bool _disposed;

    public WorkerTerm(WorkerSetup setup, Topology topology, IChannel channel, ulong incarnation, IActorRef self, Action<string> log)
    {
        (_channel, _incarnation, _self, _log) = (channel, incarnation, self, log);
        (Number, Servers, Replicated) = (topology.Term, topology.Servers, topology.Replicated);
        var plan = BucketPlan.Ordered(setup.Model.Layout, topology.Servers.Length, topology.Shares, topology.BucketLength);
        if (topology.Servers.Where((s, p) => s.Partition != p).Any()) throw Orders.Bad("servers in another order than their partitions");
        long term = topology.Term;
        var arrived = new WeightsArrived(term);
        if (setup.Consistency.IsSync)
        {
            _weights = new WeightsStore(
                setup.Model.Layout, plan, term, version => Post(new WeightsComplete(term, version)), version => Post(new AveragesComplete(term, version)), setup.Wire.Weights, setup.SharesMemory)
            {
                Arrived = () => Post(arrived),
                Trace = setup.Trace,
            };
        }
        else
        {
            Fresh = new FreshWeights(setup.Model.Layout, plan, term, () => Post(arrived), version => Post(new AveragesComplete(term, version)), setup.Wire.Weights) { Trace = setup.Trace };
        }

        _goOn = new GoOn(term);
        FirstTensor = setup.Model.Layout.Tensors[0].End;
        Connections = new IServerConnection[topology.Servers.Length];
        Array.Fill(Connections, NotConnected.Instance);
        _open = new IServerConnection?[topology.Servers.Length];
        _connecting = new Task[topology.Servers.Length];
        Array.Fill(_connecting, Task.CompletedTask);
        Plan = plan;
        Buckets = new GradientBuckets(plan, Connections, term, incarnation, setup.Trace, setup.Faults);
        Unsent = new GradientBuckets(plan, [], term, incarnation, setup.Trace, setup.Faults);
    }

    public long Number { get; }

    /// <summary>Whether only the clock tells which steps are committed.</summary>
    public bool Replicated { get; }

    public ImmutableArray<ServerAddress> Servers { get; }

    /// <summary>The weights; only where all workers compute a step with the same ones.</summary>
    public WeightsStore Weights => _weights!;

    /// <summary>The weights, where steps don't wait for each other; null where they do.</summary>
    public FreshWeights? Fresh { get; }

    /// <summary>Where the first tensor ends: once it is there, a pass can begin.</summary>
    public long FirstTensor { get; }

    public BucketPlan Plan { get; }

    public GradientBuckets Buckets { get; }

    /// <summary>For what is computed and not pushed.</summary>
    public GradientBuckets Unsent { get; }

    /// <summary>By partition; where there is none yet, one that drops everything.</summary>
    public IServerConnection[] Connections { get; }

    /// <summary>
    /// Begins to connect to the server of a partition, in place of an earlier connection; tries again until it succeeds or the term
    /// is over. Then <see cref="ServerConnected"/> is posted; <see cref="ServerUnreachable"/> where it takes longer than
    /// <paramref name="patience"/>: whether the server is lost is the coordinator's to say.
    /// </summary>
    public void Connect(int partition, TimeSpan patience)
    {
        Connections[partition] = NotConnected.Instance;
        _connecting[partition] = ConnectAsync(partition, _connecting[partition], patience);
    }

    /// <summary>Whether there is a connection to the server of a partition.</summary>
    public bool IsConnected(int partition) => Connections[partition] != NotConnected.Instance;

    /// <summary>What <see cref="ServerConnected"/> told of.</summary>
    public void Take(ServerConnected connected) => Connections[connected.Partition] = connected.Connection;

    /// <summary>The worker has more to do, behind what lies in its mailbox.</summary>
    public void GoOn() => Post(_goOn);

    /// <summary>Frees the weights; only after <see cref="DisposeAsync"/>.</summary>
    public void Free()
    {
        _weights?.Dispose();
        Fresh?.Dispose();
    }

    public async ValueTask DisposeAsync()
    {
        lock (_lock)
        {
            if (_disposed) return;
            _disposed = true;
        }

        await _ending.CancelAsync();
        foreach (IServerConnection? connection in _open)
        {
            if (connection is not null) await connection.DisposeAsync();
        }

        await Task.WhenAll(_connecting);
        _ending.Dispose();
    }

    private async Task ConnectAsync(int partition, Task before, TimeSpan patience)
    {
        await before;
        if (_open[partition] is { } old) await old.DisposeAsync();
        ServerAddress server = Servers[partition];
        long began = TimeProvider.System.GetTimestamp();
        bool told = false;
        while (!_ending.IsCancellationRequested)
        {
            try
            {
                IServerConnection connection = await ConnectOnceAsync(server, patience);
                if (!TryKeep(partition, connection)) await connection.DisposeAsync();
                else _ = PostWhenLostAsync(connection, partition);
                return;
            }
            catch (DistTrainException e)
            {
                if (!told && TimeProvider.System.GetElapsedTime(began) >= patience)
                {
                    told = true;
                    _log($"no connection to server {server.Member} at {server.Endpoint} within {patience.TotalSeconds:0.#} s: {e.Message}; trying on");
                    Post(new ServerUnreachable(Number, partition, e.Message));
                }

                await Task.Delay(RetryDelay, _ending.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (OperationCanceledException) when (_ending.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                Post(new ConnectingFailed(Number, e));
                return;
            }
        }
    }

    private async Task<IServerConnection> ConnectOnceAsync(ServerAddress server, TimeSpan patience)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(_ending.Token);
        deadline.CancelAfter(patience);
        try
        {
            return await _channel.ConnectAsync(server, Number, _incarnation, (IWeightsSink?)_weights ?? Fresh!, deadline.Token);
        }
        catch (OperationCanceledException) when (!_ending.IsCancellationRequested)
        {
            throw new DistTrainException(ExitCode.ClusterLost, $"server {server.Member} at {server.Endpoint}: it does not answer");
        }
    }

    private bool TryKeep(int partition, IServerConnection connection)
    {
        lock (_lock)
        {
            if (_disposed) return false;
            _open[partition] = connection;
        }

        Post(new ServerConnected(Number, partition, connection));
        return true;
    }

    private async Task PostWhenLostAsync(IServerConnection connection, int partition)
    {
        if (await connection.Lost is { } cause) Post(new ServerLost(Number, partition, connection, cause));
    }

    // These messages move the worker on: they wait for room rather than get lost.
    private void Post(object message) => _ = _self.TellAsync(message).AsTask();

    /// <summary>In place of a connection that isn't there: what is pushed is lost, and pushed again once there is one.</summary>
    private sealed class NotConnected : IServerConnection
    {
        public static readonly NotConnected Instance = new();

        public Task<string?> Lost { get; } = Task.FromResult<string?>(null);

        public void Push(in SegmentHeader header, NativeSpan payload)
        {
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
