using System.Collections.Concurrent;
using DistTrain.Cluster.Hosting;
using DistTrain.Core.Actors;
using DistTrain.Tests;

namespace DistTrain.Cluster.Tests;

public sealed class ActorHostTests : IAsyncDisposable
{
    private readonly ConcurrentQueue<string> _log = new();
    private readonly ManualTime _time = new();
    private readonly ActorHost _host;

    public ActorHostTests() => _host = new ActorHost(_time, _log.Enqueue);

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Messages_FromManyThreads_AreHandledOneAtATime(bool dedicatedThread)
    {
        var counter = new Counter();
        IActorRef actor = _host.Spawn("counter", () => counter, new ActorOptions(DedicatedThread: dedicatedThread));
        await Parallel.ForAsync(0, 1000, async (i, token) => await actor.TellAsync(i, null, token));
        Assert.Equal(1000, await actor.AskAsync<int>("how many", TimeSpan.FromMinutes(1)));
        Assert.False(counter.Overlapped);
    }

    [Fact]
    public async Task Messages_FromOneSender_ComeInOrder()
    {
        var counter = new Counter();
        IActorRef actor = _host.Spawn("counter", () => counter);
        for (int i = 0; i < 500; i++) actor.Tell(i);
        await actor.AskAsync<int>("how many", TimeSpan.FromMinutes(1));
        Assert.Equal(Enumerable.Range(0, 500), counter.Seen);
    }

    [Fact]
    public async Task Ask_WithoutAnAnswer_TimesOutByName()
    {
        IActorRef actor = _host.Spawn("counter", () => new Counter());
        Task<int> ask = actor.AskAsync<int>("never mind", TimeSpan.FromSeconds(5));
        _time.Advance(TimeSpan.FromSeconds(5));
        TimeoutException e = await Assert.ThrowsAsync<TimeoutException>(() => ask);
        Assert.Equal("/counter did not answer String within 5 s", e.Message);
    }

    [Fact]
    public async Task Ask_OfAnActorThatStops_FailsByName()
    {
        var gate = new TaskCompletionSource();
        IActorRef actor = _host.Spawn("slow", () => new Waiting(gate.Task));
        actor.Tell("wait");
        Task<int> ask = actor.AskAsync<int>("then", TimeSpan.FromMinutes(1));
        Task stop = _host.StopAsync(actor);
        gate.SetResult();
        await stop;
        Assert.Contains("/slow", (await Assert.ThrowsAsync<InvalidOperationException>(() => ask)).Message);
    }

    [Fact]
    public async Task Tell_ToAFullMailbox_GoesToTheDeadLettersAndTellAsyncWaits()
    {
        var gate = new TaskCompletionSource();
        var slow = new Waiting(gate.Task);
        IActorRef actor = _host.Spawn("slow", () => slow, new ActorOptions(MailboxCapacity: 1));
        actor.Tell("in hand");
        await slow.Entered;
        actor.Tell("waits");
        actor.Tell("is one too many");
        Assert.Equal("dead letter 1: String to /slow: its mailbox is full", Assert.Single(_log));
        ValueTask blocked = actor.TellAsync("has patience");
        Assert.False(blocked.IsCompleted);
        gate.SetResult();
        await blocked;
    }

    [Fact]
    public async Task Tell_ToAStoppedActor_GoesToTheDeadLetters()
    {
        IActorRef actor = _host.Spawn("counter", () => new Counter());
        await _host.StopAsync(actor);
        actor.Tell(1);
        Assert.Equal("dead letter 1: Int32 to /counter: it has stopped", Assert.Single(_log));
    }

    [Fact]
    public async Task Failure_OfACoreActor_StopsItAndNamesIt()
    {
        IActorRef actor = _host.Spawn("worker", () => new Counter());
        actor.Tell(new InvalidOperationException("no such shard"));
        ActorFailure failure = await _host.Failure;
        Assert.Equal(("/worker", "InvalidOperationException", "no such shard"), (failure.Path, failure.Message, failure.Cause.Message));
    }

    [Fact]
    public async Task Failure_OfAHelper_RestartsItWithANewInstance()
    {
        int made = 0;
        IActorRef actor = _host.Spawn("helper", () => { made++; return new Counter(); }, new ActorOptions(OnFailure: OnFailure.Restart, MaxRestarts: 2));
        actor.Tell(1);
        actor.Tell(new InvalidOperationException("once"));
        actor.Tell(2);
        Assert.Equal(1, await actor.AskAsync<int>("how many", TimeSpan.FromMinutes(1)));
        Assert.Equal(2, made);
        Assert.False(_host.Failure.IsCompleted);
        for (int i = 0; i < 3; i++) actor.Tell(new InvalidOperationException("again"));
        Assert.Equal("again", (await _host.Failure).Cause.Message);
    }

    [Fact]
    public void Spawn_OfANameTwice_IsRefused()
    {
        _host.Spawn("a", () => new Counter());
        Assert.Throws<InvalidOperationException>(() => _host.Spawn("a", () => new Counter()));
    }

    private sealed class Counter : IActor
    {
        private int _inside;

        public List<int> Seen { get; } = [];

        public bool Overlapped { get; private set; }

        public async ValueTask ReceiveAsync(object message, IActorContext context)
        {
            if (Interlocked.Exchange(ref _inside, 1) != 0) Overlapped = true;
            await Task.Yield();
            if (message is Exception e) throw e;
            if (message is int i) Seen.Add(i);
            if (message is "how many") context.Sender!.Tell(Seen.Count);
            Interlocked.Exchange(ref _inside, 0);
        }
    }

    private sealed class Waiting(Task gate) : IActor
    {
        private readonly TaskCompletionSource _entered = new();

        public Task Entered => _entered.Task;

        public async ValueTask ReceiveAsync(object message, IActorContext context)
        {
            _entered.TrySetResult();
            await gate;
        }
    }
}
