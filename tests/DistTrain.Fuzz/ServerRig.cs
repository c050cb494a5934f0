using DistTrain.Core;
using DistTrain.Core.Actors;
using DistTrain.Core.Channels;
using DistTrain.Core.Layout;
using DistTrain.Core.Messages;
using DistTrain.Core.Sharding;
using DistTrain.Kernels;
using DistTrain.Optim;
using DistTrain.Training;
using DistTrain.Training.ParameterServer;

namespace DistTrain.Fuzz;

/// <summary>A parameter server with everything around it in hand: what it is told it does at once, and nobody hears it.</summary>
internal sealed class ServerRig : IActorRef, IActorContext, ICoordinatorLink, ICheckpointPort, IAsyncDisposable
{
    public const int Shards = 4;

    /// <summary>The model's tensors.</summary>
    public static readonly ParameterLayout Layout = new([("a", [64], TensorRole.Parameter), ("running", [16], TensorRole.Buffer), ("b", [5000], TensorRole.Parameter)]);

    private readonly Queue<object> _mailbox = new();

    /// <summary>Sets it up in one of several ways.</summary>
    public ServerRig(int way)
    {
        OptimizerSpec optimizer = (way & 8) != 0 ? new LambSpec() : new SgdSpec(LearningRate: 0.5, Momentum: 0.9);
        WireFormat gradients = (way & 3) switch
        {
            0 => WireFormat.Exact,
            1 => WireFormat.Of(FloatFormat.BFloat16),
            2 => new Int8Format(Layout, 1),
            _ => new TopKFormat(Layout, 0.1),
        };
        Server = new ParameterServer(
            new ServerSetup(Layout, Shards, (_, values) => values.Span.Clear(), new UpdateRule(optimizer.Create(), optimizer.StateVectors, _ => 0.5)
            {
                BufferMomentum = _ => 0.1,
                BatchSize = _ => 8,
                Consistency = (way & 4) != 0 ? Consistency.Async : Consistency.Sync,
                ClipNorm = (way & 24) == 16 ? 1 : null,
                WatchEvery = (way & 32) != 0 ? 2 : 0,
                Wire = new WireOptions(gradients, WireFormat.Exact),
            }),
            this, this, _ => { });
        Server.Attach(this);
    }

    public ParameterServer Server { get; }

    public string Path => "server";

    public IActorRef Self => this;

    public IActorRef? Sender => null;

    public CancellationToken Stopping => default;

    /// <summary>One message, and then those that it caused.</summary>
    public void Tell(object message, IActorRef? sender = null)
    {
        _mailbox.Enqueue(message);
        if (_mailbox.Count > 1) return;
        while (_mailbox.TryPeek(out object? next))
        {
            ValueTask done = Server.ReceiveAsync(next, this);
            // A checkpoint that it asks for is refused at once.
            if (!done.IsCompleted) throw new BrokenPromiseException("the server waits");
            done.GetAwaiter().GetResult();
            _mailbox.Dequeue();
        }
    }

    public ValueTask TellAsync(object message, IActorRef? sender = null, CancellationToken cancellation = default)
    {
        if (message is SegmentArrived) Tell(message);
        return default;
    }

    public Task<T> AskAsync<T>(object message, TimeSpan deadline, CancellationToken cancellation = default) => throw new InvalidOperationException();

    public void Send(MemberMessage message)
    {
    }

    public Task SaveAsync(IAsyncEnumerable<(CheckpointPieceHeader Header, NativeSpan Payload)> pieces, CancellationToken cancellation) => Task.CompletedTask;

    public Task LoadAsync(long term, long version, long offset, long length, Func<CheckpointPieceHeader, int, NativeSpan> place, CancellationToken cancellation) =>
        throw new DistTrainException(ExitCode.BadData, "there is no such checkpoint");

    public ValueTask DisposeAsync() => Server.DisposeAsync();
}
