using DistTrain.Cluster.Hosting;
using DistTrain.Cluster.Membership;
using DistTrain.Core.Actors;

namespace DistTrain.Cluster;

/// <summary>The engine for one machine, for tests, and for clusters without Akka.NET.</summary>
public sealed class BuiltInEngine : IEngine
{
    private readonly ActorHost _actors;
    private readonly LinkMembership _membership;

    /// <summary>Creates an engine whose log lines go to <paramref name="log"/>.</summary>
    public BuiltInEngine(TimeProvider time, TimeSpan failureTimeout, Action<string> log)
    {
        _actors = new ActorHost(time, log);
        _membership = new LinkMembership(time, failureTimeout);
    }

    /// <inheritdoc/>
    public string Name => "builtin";

    /// <inheritdoc/>
    public IActorHost Actors => _actors;

    /// <inheritdoc/>
    public IMembership Membership => _membership;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _membership.Dispose();
        await _actors.DisposeAsync();
    }
}
