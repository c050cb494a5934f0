namespace DistTrain.Core.Actors;

/// <summary>
/// A class that receives messages one at a time. Hosts never call <see cref="ReceiveAsync"/> concurrently; the next
/// message comes when the returned task has completed. Akka.NET hosts it as a <c>ReceiveActor</c> of one handler.
/// </summary>
public interface IActor
{
    /// <summary>Handles one message. An exception is the actor's failure: supervision decides what follows.</summary>
    ValueTask ReceiveAsync(object message, IActorContext context);
}

/// <summary>What an actor sees of its host while it handles a message.</summary>
public interface IActorContext
{
    /// <summary>This actor.</summary>
    IActorRef Self { get; }

    /// <summary>Who sent the message, to be answered with <see cref="IActorRef.Tell"/>; null when nobody waits.</summary>
    IActorRef? Sender { get; }

    /// <summary>Fires when the actor is being stopped.</summary>
    CancellationToken Stopping { get; }
}

/// <summary>The address of an actor. Thread-safe.</summary>
public interface IActorRef
{
    /// <summary>The path, such as <c>/worker</c>.</summary>
    string Path { get; }

    /// <summary>
    /// Leaves a message without waiting. When the actor has stopped or its mailbox is full, the message goes to the
    /// dead letters, which are logged; senders that must not lose it use <see cref="TellAsync"/>.
    /// </summary>
    void Tell(object message, IActorRef? sender = null);

    /// <summary>Leaves a message, waiting while the mailbox is full: back-pressure.</summary>
    ValueTask TellAsync(object message, IActorRef? sender = null, CancellationToken cancellation = default);

    /// <summary>
    /// Sends a message and waits for the answer that the actor tells to its sender.
    /// Throws <see cref="TimeoutException"/> after <paramref name="deadline"/>, naming actor and message, and
    /// <see cref="InvalidOperationException"/> when the actor stops first.
    /// </summary>
    Task<T> AskAsync<T>(object message, TimeSpan deadline, CancellationToken cancellation = default);
}

/// <summary>What a host does when an actor's handler throws.</summary>
public enum OnFailure
{
    /// <summary>The actor stops and <see cref="IActorHost.Failure"/> completes: its process ends. For worker, server
    /// and coordinator, whose recovery is the cluster's.</summary>
    EndProcess,

    /// <summary>A new instance goes on with the mailbox as it is. For stateless helpers only.</summary>
    Restart,
}

/// <summary>How an actor is hosted.</summary>
/// <param name="MailboxCapacity">Messages that wait at most; a full mailbox pushes back.</param>
/// <param name="OnFailure">What follows an exception.</param>
/// <param name="DedicatedThread">True for actors that compute: handlers run on a thread of their own, not on the pool.</param>
/// <param name="MaxRestarts">Restarts in a row, without a message handled between, before the actor fails for good.</param>
public sealed record ActorOptions(int MailboxCapacity = 4096, OnFailure OnFailure = OnFailure.EndProcess, bool DedicatedThread = false, int MaxRestarts = 3)
{
    /// <summary>
    /// Whether an actor with a thread of its own handles messages on a <see cref="LentThread"/> too, where one of those told it. Such a
    /// message must be handled without waiting for what the lending thread brings.
    /// </summary>
    public bool OnLentThreads { get; init; }
}

/// <summary>An actor whose handler threw.</summary>
/// <param name="Path">The actor.</param>
/// <param name="Message">The type of the message that it handled.</param>
/// <param name="Cause">What it threw.</param>
public sealed record ActorFailure(string Path, string Message, Exception Cause);

/// <summary>
/// The engine's half that hosts actors. The built-in host runs mailboxes on System.Threading.Channels; the Akka.NET
/// host maps Spawn to ActorOf, <see cref="OnFailure"/> to a supervision directive and the mailbox to a bounded one.
/// </summary>
public interface IActorHost : IAsyncDisposable
{
    /// <summary>Starts an actor. The factory is called again on a restart.</summary>
    IActorRef Spawn(string name, Func<IActor> factory, ActorOptions? options = null);

    /// <summary>Stops an actor after the message in hand; what still waits goes to the dead letters.</summary>
    Task StopAsync(IActorRef actor);

    /// <summary>Completes with the first failure that must end the process.</summary>
    Task<ActorFailure> Failure { get; }
}
