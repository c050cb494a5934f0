using System.Threading.Channels;
using DistTrain.Core.Messages;
using DistTrain.Transport.Tests.Channels;

namespace DistTrain.Transport.Tests.Services;

/// <summary>What happened to a link at the coordinator: <paramref name="Message"/> or <paramref name="Closed"/>, or neither when it opened.</summary>
internal sealed record LinkEvent(IMemberLink Link, MemberMessage? Message = null, string? Closed = null);

/// <summary>A coordinator that only listens.</summary>
internal sealed class FakeCoordinator : ICoordinatorPort
{
    private readonly Channel<LinkEvent> _events = Channel.CreateUnbounded<LinkEvent>();

    public ValueTask OpenedAsync(IMemberLink link) => Tell(new(link));

    public ValueTask ReceivedAsync(IMemberLink link, MemberMessage message) => Tell(new(link, Message: message));

    public ValueTask ClosedAsync(IMemberLink link, string cause) => Tell(new(link, Closed: cause));

    public async Task<LinkEvent> NextAsync() => await _events.Reader.ReadAsync().AsTask().WaitAsync(Patience.Long);

    public bool NothingMoreCame() => !_events.Reader.TryRead(out _);

    private ValueTask Tell(LinkEvent what) => _events.Writer.WriteAsync(what);
}
