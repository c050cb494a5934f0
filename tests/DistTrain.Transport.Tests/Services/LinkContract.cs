using System.Threading.Channels;
using DistTrain.Core.Messages;
using DistTrain.Transport.Tests.Channels;

namespace DistTrain.Transport.Tests.Services;

/// <summary>What every line between a member and the coordinator keeps; a subclass for each of them.</summary>
public abstract class LinkContract
{
    private readonly Channel<CoordinatorMessage> _received = Channel.CreateUnbounded<CoordinatorMessage>();

    private protected FakeCoordinator Coordinator { get; } = new();

    /// <summary>Connects a member to <see cref="Coordinator"/>.</summary>
    protected abstract Task<ICoordinatorLink> ConnectAsync(Func<CoordinatorMessage, ValueTask> receive);

    /// <summary>Waits until no call of the coordinator's port can come any more.</summary>
    protected abstract Task SettleAsync();

    protected static MemberMessage Up(int i) => new PartitionReady(i, i, i);

    protected static CoordinatorMessage Down(int i) => new AcceptTerm(i);

    private protected async Task<(ICoordinatorLink Near, IMemberLink Far)> OpenAsync()
    {
        ICoordinatorLink near = await ConnectAsync(message => _received.Writer.WriteAsync(message)).WaitAsync(Patience.Long);
        LinkEvent opened = await Coordinator.NextAsync();
        Assert.True(opened is { Message: null, Closed: null }, $"expected the link to open first, got {opened}");
        return (near, opened.Link);
    }

    private protected async Task<CoordinatorMessage> ReceivedAsync() => await _received.Reader.ReadAsync().AsTask().WaitAsync(Patience.Long);

    // The link closes at the coordinator, with a cause, and nothing is heard of it when the member's end is disposed too.
    private protected async Task ClosedOnceAsync(ICoordinatorLink near, IMemberLink far)
    {
        LinkEvent closed = await Coordinator.NextAsync();
        Assert.Same(far, closed.Link);
        Assert.False(string.IsNullOrEmpty(closed.Closed), $"expected the link to close with a cause, got {closed}");
        await near.DisposeAsync().AsTask().WaitAsync(Patience.Long);
        await SettleAsync();
        Assert.True(Coordinator.NothingMoreCame());
    }

    [Fact]
    public async Task Messages_BothWaysAtOnce_ArriveInOrder()
    {
        (ICoordinatorLink near, IMemberLink far) = await OpenAsync();
        Assert.NotEmpty(far.Remote);
        for (int i = 0; i < 200; i++)
        {
            near.Send(Up(i));
            far.Send(Down(i));
        }

        for (int i = 0; i < 200; i++)
        {
            LinkEvent up = await Coordinator.NextAsync();
            Assert.Same(far, up.Link);
            Assert.Equal(Up(i), up.Message);
            Assert.Equal(Down(i), await ReceivedAsync());
        }

        await near.DisposeAsync().AsTask().WaitAsync(Patience.Long);
        await ClosedOnceAsync(near, far);
    }

    [Fact]
    public async Task Dispose_ByTheMember_SendsWhatIsQueuedAndClosesOnce()
    {
        (ICoordinatorLink near, IMemberLink far) = await OpenAsync();
        for (int i = 0; i < 50; i++) near.Send(Up(i));

        await near.DisposeAsync().AsTask().WaitAsync(Patience.Long);

        for (int i = 0; i < 50; i++) Assert.Equal(Up(i), (await Coordinator.NextAsync()).Message);
        await ClosedOnceAsync(near, far);
        near.Send(Up(99));
        far.Send(Down(99));
    }

    [Fact]
    public async Task Close_ByTheCoordinator_SendsWhatIsQueuedAndClosesOnce()
    {
        (ICoordinatorLink near, IMemberLink far) = await OpenAsync();
        for (int i = 0; i < 50; i++) far.Send(Down(i));

        far.Close();

        for (int i = 0; i < 50; i++) Assert.Equal(Down(i), await ReceivedAsync());
        await ClosedOnceAsync(near, far);
    }

    [Fact]
    public async Task Links_SeveralAtOnce_DoNotMix()
    {
        var links = new List<(ICoordinatorLink Near, IMemberLink Far)>();
        for (int c = 0; c < 3; c++) links.Add(await OpenAsync());
        for (int i = 0; i < 20; i++)
        {
            for (int c = 0; c < 3; c++) links[c].Near.Send(Up((i * 3) + c));
        }

        int[] next = [0, 1, 2];
        for (int i = 0; i < 60; i++)
        {
            LinkEvent up = await Coordinator.NextAsync();
            int c = links.FindIndex(l => ReferenceEquals(l.Far, up.Link));
            Assert.Equal(Up(next[c]), up.Message);
            next[c] += 3;
        }

        foreach ((ICoordinatorLink near, _) in links) await near.DisposeAsync().AsTask().WaitAsync(Patience.Long);
    }
}
