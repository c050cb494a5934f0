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

    public WorkerTerm(WorkerSetup setup, Topology topology, IChannel channel, ulong incarnation, IActorRef self)
    {
        (_channel, _incarnation, _self) = (channel, incarnation, self);
        (Number, Servers) = (topology.Term, topology.Servers);
        BucketPlan plan = topology.Shares.IsEmpty
            ? new(setup.Model.Layout, topology.Servers.Length, topology.BucketLength)
            : new(setup.Model.Layout, topology.Shares, topology.BucketLength);
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
        Buckets = new GradientBuckets(plan, Connections, term, incarnation, setup.Trace);
    }

    public long Number { get; }

    public ImmutableArray<ServerAddress> Servers { get; }

    /// <summary>The weights; only where all workers compute a step with the same ones.</summary>
    public WeightsStore Weights => _weights!;

    /// <summary>The weights, where steps don't wait for each other; null where they do.</summary>
    public FreshWeights? Fresh { get; }

    /// <summary>Where the first tensor ends: once it is there, a pass can begin.</summary>
    public long FirstTensor { get; }

    public GradientBuckets Buckets { get; }

    /// <summary>By partition.</summary>
    public IServerConnection[] Connections { get; }

    /// <summary>
    /// Connects to the server of a partition, in place of an earlier connection; tries again until
    /// <paramref name="patience"/> is over, then throws <see cref="DistTrainException"/> naming the server.
    /// </summary>
    public async Task ConnectAsync(int partition, TimeSpan patience, CancellationToken cancellation)
    {
        if (Connections[partition] is { } old) await old.DisposeAsync();
        ServerAddress server = Servers[partition];
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        deadline.CancelAfter(patience);
        string cause = "it did not answer";
        while (true)
        {
            try
            {
                Connections[partition] = await _channel.ConnectAsync(server, Number, _incarnation, (IWeightsSink?)_weights ?? Fresh!, deadline.Token);
                _ = PostWhenLostAsync(Connections[partition], partition);
                return;
            }
            catch (DistTrainException e)
            {
                cause = e.Message;
                await Task.Delay(RetryDelay, deadline.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (OperationCanceledException)
            {
                cancellation.ThrowIfCancellationRequested();
                throw new DistTrainException(ExitCode.ClusterLost, $"no connection to server {server.Member} at {server.Endpoint} within {patience.TotalSeconds:0.#} s: {cause}");
            }
        }
    }

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
        foreach (IServerConnection? connection in Connections)
        {
            if (connection is not null) await connection.DisposeAsync();
        }
    }

    private async Task PostWhenLostAsync(IServerConnection connection, int partition)
    {
        if (await connection.Lost is { } cause) Post(new ServerLost(Number, partition, cause));
    }

    // These messages move the worker on: they wait for room rather than get lost.
    private void Post(object message) => _ = _self.TellAsync(message).AsTask();
}
