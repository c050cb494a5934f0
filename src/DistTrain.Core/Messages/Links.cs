namespace DistTrain.Core.Messages;

/// <summary>A member's line to the coordinator. Messages arrive in the order sent, or the link is lost.</summary>
public interface ICoordinatorLink : IAsyncDisposable
{
    /// <summary>Queues a message and returns; after a loss of the link this does nothing.</summary>
    void Send(MemberMessage message);
}

/// <summary>The coordinator's line to one member.</summary>
public interface IMemberLink
{
    /// <summary>"127.0.0.1:51234" or "in-process": for messages about members that never said who they are.</summary>
    string Remote { get; }

    /// <summary>Who is at the other end, once admitted.</summary>
    MemberId? Member { get; set; }

    /// <summary>Queues a message and returns; after a loss of the link this does nothing.</summary>
    void Send(CoordinatorMessage message);

    /// <summary>Ends the link after what was queued.</summary>
    void Close();
}

/// <summary>
/// What the coordinator offers to those that carry its links. Calls for one link come one at a time and in order.
/// </summary>
public interface ICoordinatorPort
{
    /// <summary>Somebody connected.</summary>
    ValueTask OpenedAsync(IMemberLink link);

    /// <summary>A message came.</summary>
    ValueTask ReceivedAsync(IMemberLink link, MemberMessage message);

    /// <summary>The link is closed; nothing more comes from it.</summary>
    ValueTask ClosedAsync(IMemberLink link, string cause);
}
