namespace DistTrain.Core.Actors;

/// <summary>
/// Where actor hosting and membership come from: built-in, or Akka.NET (ActorSystem and Akka.Cluster, the coordinator
/// as a cluster singleton). Tensors never travel through an engine.
/// </summary>
public interface IEngine : IAsyncDisposable
{
    /// <summary>The name that <c>--engine</c> takes.</summary>
    string Name { get; }

    /// <summary>Hosts the actors of this process.</summary>
    IActorHost Actors { get; }

    /// <summary>Who is in the cluster.</summary>
    IMembership Membership { get; }
}

/// <summary>
/// Who is in the cluster, as this process knows it. The coordinator admits members whose handshake it accepted and
/// reports links that closed; the engine's failure detector adds what it finds itself.
/// </summary>
public interface IMembership
{
    /// <summary>The newest view.</summary>
    ClusterView Current { get; }

    /// <summary>
    /// The views from the current one on, each with a higher version than the one before; views that came while the
    /// reader was busy are skipped, never reordered.
    /// </summary>
    IAsyncEnumerable<ClusterView> WatchAsync(CancellationToken cancellation);

    /// <summary>Admits a member.</summary>
    void Admit(Member member);

    /// <summary>Notes that a member is alive.</summary>
    void Heard(MemberId member);

    /// <summary>Removes a member. Removing one that is not there changes nothing.</summary>
    void Remove(MemberId member, string cause);
}
