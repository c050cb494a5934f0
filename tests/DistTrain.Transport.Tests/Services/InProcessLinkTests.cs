using DistTrain.Core.Messages;
using DistTrain.Transport.InProcess;

namespace DistTrain.Transport.Tests.Services;

public sealed class InProcessLinkTests : LinkContract
{
    protected override Task<ICoordinatorLink> ConnectAsync(Func<CoordinatorMessage, ValueTask> receive) =>
        Task.FromResult<ICoordinatorLink>(InProcessLink.Connect(Coordinator, receive));

    // Disposing has waited for everything.
    protected override Task SettleAsync() => Task.CompletedTask;
}
