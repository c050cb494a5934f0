using System.Threading.Channels;
using DistTrain.Core;
using DistTrain.Core.Messages;

namespace DistTrain.Transport.InProcess;

/// <summary>The line between a member and a coordinator of the same process.</summary>
public sealed class InProcessLink : ICoordinatorLink
{
    private readonly Channel<MemberMessage> _up = Channel.CreateUnbounded<MemberMessage>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Channel<CoordinatorMessage> _down = Channel.CreateUnbounded<CoordinatorMessage>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Task _pumps;

    private InProcessLink(ICoordinatorPort coordinator, Func<CoordinatorMessage, ValueTask> receive)
    {
        var far = new FarEnd(this);
        _pumps = Task.WhenAll(Task.Run(() => PumpUpAsync(coordinator, far)), Task.Run(() => PumpDownAsync(receive)));
    }

    /// <summary>Connects a member. <paramref name="receive"/> gets the coordinator's messages, one at a time.</summary>
    public static InProcessLink Connect(ICoordinatorPort coordinator, Func<CoordinatorMessage, ValueTask> receive) => new(coordinator, receive);

    /// <inheritdoc/>
    public void Send(MemberMessage message) => _up.Writer.TryWrite(message);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _up.Writer.TryComplete();
        _down.Writer.TryComplete();
        await _pumps.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task PumpUpAsync(ICoordinatorPort coordinator, FarEnd far)
    {
        await coordinator.OpenedAsync(far);
        await foreach (MemberMessage message in _up.Reader.ReadAllAsync()) await coordinator.ReceivedAsync(far, message);
        await coordinator.ClosedAsync(far, "it closed the link");
    }

    private async Task PumpDownAsync(Func<CoordinatorMessage, ValueTask> receive)
    {
        await foreach (CoordinatorMessage message in _down.Reader.ReadAllAsync()) await receive(message);
    }

    private sealed class FarEnd(InProcessLink link) : IMemberLink
    {
        public string Remote => "in-process";

        public MemberId? Member { get; set; }

        public void Send(CoordinatorMessage message) => link._down.Writer.TryWrite(message);

        public void Close()
        {
            link._down.Writer.TryComplete();
            link._up.Writer.TryComplete();
        }
    }
}
