using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Messages;

namespace DistTrain.Training.Coordinator;

/// <summary>Somebody connected.</summary>
public sealed record LinkOpened(IMemberLink Link);

/// <summary>A member's message came.</summary>
public sealed record LinkReceived(IMemberLink Link, MemberMessage Message);

/// <summary>A link is closed.</summary>
public sealed record LinkClosed(IMemberLink Link, string Cause);

/// <summary>Membership changed.</summary>
public sealed record ViewChanged(ClusterView View);

/// <summary>Time passed: comes a few times a second.</summary>
public sealed record Tick;

/// <summary>A checkpoint is complete; the path is null when it is only kept in memory.</summary>
public sealed record CheckpointWritten(long Version, string? Path);

/// <summary>A checkpoint could not be completed.</summary>
public sealed record CheckpointFailed(long Version, string Reason, ExitCode Exit);

/// <summary>The user wants to stop: finish what is granted, save, end.</summary>
public sealed record StopRequested;

/// <summary>The user wants to know who waits for whom.</summary>
public sealed record ExplanationRequested;

/// <summary>The user won't wait any longer, or what is granted takes too long.</summary>
public sealed record StopNow;

/// <summary>
/// Puts what links bring into the coordinator's mailbox. A member is heard when its message arrives, not when the
/// coordinator comes to it: a coordinator that was held up doesn't take everybody for silent.
/// </summary>
public sealed class CoordinatorMailbox(IActorRef coordinator, IMembership membership) : ICoordinatorPort
{
    /// <inheritdoc/>
    public ValueTask OpenedAsync(IMemberLink link) => coordinator.TellAsync(new LinkOpened(link));

    /// <inheritdoc/>
    public ValueTask ReceivedAsync(IMemberLink link, MemberMessage message)
    {
        if (link.Member is { } member) membership.Heard(member);
        return message is Heartbeat ? ValueTask.CompletedTask : coordinator.TellAsync(new LinkReceived(link, message));
    }

    /// <inheritdoc/>
    public ValueTask ClosedAsync(IMemberLink link, string cause) => coordinator.TellAsync(new LinkClosed(link, cause));
}
