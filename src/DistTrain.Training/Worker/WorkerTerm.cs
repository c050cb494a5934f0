using System.Collections.Immutable;
using DistTrain.Core.Actors;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;

namespace DistTrain.Training.Worker;

/// <summary>What a worker holds for one term: the servers, its connections to them and the weights that they send.</summary>
internal sealed class WorkerTerm : IAsyncDisposable
{
    private readonly IChannel _channel;
    private readonly ulong _incarnation;
    private readonly IActorRef _self;

    public WorkerTerm(ParameterLayout layout, Topology topology, IChannel channel, ulong incarnation, IActorRef self)
    {
        (_channel, _incarnation, _self) = (channel, incarnation, self);
        (Number, Servers) = (topology.Term, topology.Servers);
        var plan = new BucketPlan(layout, topology.Servers.Length, topology.BucketLength);
        long term = topology.Term;
        Weights = new WeightsStore(layout, plan, term, version => self.Tell(new WeightsComplete(term, version)));
        Connections = new IServerConnection[topology.Servers.Length];
        Buckets = new GradientBuckets(plan, Connections, term, incarnation);
    }

    public long Number { get; }

    public ImmutableArray<ServerAddress> Servers { get; }

    public WeightsStore Weights { get; }

    public GradientBuckets Buckets { get; }

    /// <summary>By partition.</summary>
    public IServerConnection[] Connections { get; }

    /// <summary>Connects to the server of a partition, in place of an earlier connection.</summary>
    public async Task ConnectAsync(int partition, CancellationToken cancellation)
    {
        if (Connections[partition] is { } old) await old.DisposeAsync();
        IServerConnection connection = await _channel.ConnectAsync(Servers[partition], Number, _incarnation, Weights, cancellation);
        Connections[partition] = connection;
        _ = TellWhenLostAsync(connection, partition);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (IServerConnection? connection in Connections)
        {
            if (connection is not null) await connection.DisposeAsync();
        }
    }

    private async Task TellWhenLostAsync(IServerConnection connection, int partition)
    {
        if (await connection.Lost is { } cause) _self.Tell(new ServerLost(Number, partition, cause));
    }
}
