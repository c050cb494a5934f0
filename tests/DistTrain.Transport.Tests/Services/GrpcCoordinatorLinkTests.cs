using System.Net;
using DistTrain.Core.Channels;
using DistTrain.Core.Messages;
using DistTrain.Transport.Grpc;
using DistTrain.Transport.Services;
using DistTrain.Transport.Tests.Channels;

namespace DistTrain.Transport.Tests.Services;

public sealed class GrpcCoordinatorLinkTests : LinkContract, IAsyncLifetime
{
    private readonly GrpcServer _host = new(new() { Listen = [new(IPAddress.Loopback, 0)], StatusOf = ServiceStatus.Of });
    private GrpcChannel? _client;

    public async Task InitializeAsync()
    {
        CoordinatorService.Add(_host, Coordinator, new NoCheckpoints());
        await _host.StartAsync();
        _client = new GrpcChannel($"http://{_host.Endpoints[0]}");
    }

    public async Task DisposeAsync()
    {
        _client!.Dispose();
        await _host.DisposeAsync();
    }

    protected override async Task<ICoordinatorLink> ConnectAsync(Func<CoordinatorMessage, ValueTask> receive) =>
        await GrpcCoordinatorLink.ConnectAsync(_client!, receive, CancellationToken.None);

    // Handlers are waited for.
    protected override Task SettleAsync() => _host.StopAsync(Patience.Long).WaitAsync(Patience.Long);

    [Fact]
    public async Task Close_ByTheCoordinator_EndsTheMembersLinkToo()
    {
        (ICoordinatorLink near, IMemberLink far) = await OpenAsync();

        far.Close();

        Assert.False(string.IsNullOrEmpty(await ((GrpcCoordinatorLink)near).Closed.WaitAsync(Patience.Long)));
        near.Send(Up(1));
        await ClosedOnceAsync(near, far);
    }

    [Fact]
    public async Task Member_Vanishes_IsClosedOnceWithACause()
    {
        (ICoordinatorLink near, IMemberLink far) = await OpenAsync();
        near.Send(Up(1));
        Assert.Equal(Up(1), (await Coordinator.NextAsync()).Message);

        // Its connections break off; the link is never closed.
        _client!.Dispose();

        far.Send(Down(1));
        await ClosedOnceAsync(near, far);
    }

    [Fact]
    public async Task Coordinator_Vanishes_EndsTheLinkWithACause()
    {
        (ICoordinatorLink near, _) = await OpenAsync();

        await _host.StopAsync(TimeSpan.Zero);

        Assert.False(string.IsNullOrEmpty(await ((GrpcCoordinatorLink)near).Closed.WaitAsync(Patience.Long)));
        near.Send(Up(1));
        await near.DisposeAsync().AsTask().WaitAsync(Patience.Long);
    }

    [Fact]
    public async Task Connect_NobodyListens_Throws()
    {
        await _host.StopAsync(TimeSpan.Zero);

        GrpcException error = await Assert.ThrowsAsync<GrpcException>(() => ConnectAsync(_ => ValueTask.CompletedTask).WaitAsync(Patience.Long));

        Assert.Equal(GrpcStatusCode.Unavailable, error.Code);
    }

    private sealed class NoCheckpoints : ICheckpointKeeper
    {
        public NativeSpan Begin(CheckpointPieceHeader header, int length) => throw new InvalidOperationException("no checkpoints here");

        public void Complete(CheckpointPieceHeader header, int length) => throw new InvalidOperationException("no checkpoints here");

        public void Abort(CheckpointPieceHeader header) => throw new InvalidOperationException("no checkpoints here");

        public IEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)> Pieces(long term, long version, long offset, long length) => [];
    }
}
